/** A script project: what its deployments share with nobody else - cache, properties and lock. */
import type { InstanceConfig } from "./config.ts";
import { TimedStore } from "./timed_store.ts";

export interface CacheEntry {
  value: string;
  expiresAtMs: number;
}

/** What takes the lock: an invocation of the script, which lives in a time of its own. */
interface LockHolder {
  readonly id: number;
  /** Real milliseconds at which the holder is now, maybe ahead of the wall clock. */
  readonly nowMs: number;
  spend(ms: number): void;
}

export class ScriptLock {
  /** Times at which runs held the lock; the end of the one that holds it now is infinite. */
  #held: { fromMs: number; toMs: number; runId: number }[] = [];

  /** Waits in the run's own time. Returns whether the lock was got. */
  acquire(run: LockHolder, timeoutMs: number): boolean {
    const now = Date.now();
    this.#held = this.#held.filter((span) => span.toMs > now || span.runId === run.id);
    const giveUpAt = run.nowMs + timeoutMs;
    for (;;) {
      const at = run.nowMs;
      const taken = this.#held.find((span) => span.fromMs <= at && at < span.toMs);
      if (!taken) break;
      if (taken.toMs > giveUpAt) {
        run.spend(giveUpAt - at);
        return false;
      }
      run.spend(taken.toMs - at);
    }
    this.#held.push({ fromMs: run.nowMs, toMs: Infinity, runId: run.id });
    return true;
  }

  release(run: LockHolder): void {
    const open = this.#held.findIndex((span) => span.runId === run.id && span.toMs === Infinity);
    if (open < 0) return;
    const span = this.#held[open];
    span.toMs = run.nowMs;
    if (span.toMs <= Date.now()) this.#held.splice(open, 1);
  }

  /** Google frees a lock when its script ends, however it ends. */
  scriptEnded(run: LockHolder): void {
    this.release(run);
  }

  clear(): void {
    this.#held = [];
  }
}

export class Project {
  readonly name: string;
  readonly deploymentId: string;
  readonly owner: string;
  locale: string | null;
  readonly cache = new TimedStore<CacheEntry>();
  readonly properties = new TimedStore<string>();
  readonly lock = new ScriptLock();
  /** Characters in the property store, keys and values. */
  propertyBytes = 0;
  /** Real milliseconds of the last call, for cold starts; null before the first. */
  lastCallAtMs: number | null = null;
  #fixed: Record<string, string>;

  constructor(config: InstanceConfig) {
    this.name = config.name;
    this.deploymentId = config.deployment_id;
    this.owner = config.owner;
    this.locale = config.locale ?? null;
    this.#fixed = { INSTANCE_NAME: config.name };
    for (const [kid, secret] of Object.entries(config.keys)) this.#fixed[`HMAC_${kid}`] = secret;
    this.reset();
  }

  /** Back to a fresh deployment: only the properties which an operator sets by hand. */
  reset(): void {
    this.cache.clear();
    this.properties.clear();
    this.lock.clear();
    this.propertyBytes = 0;
    this.lastCallAtMs = null;
    for (const [key, value] of Object.entries(this.#fixed)) {
      this.properties.set(key, value, 0);
      this.propertyBytes += key.length + value.length;
    }
  }
}
