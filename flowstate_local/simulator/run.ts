/**
 * One invocation of the script. Every stand-in for a Google service belongs to a run and reports
 * to it, so that quotas, injected exceptions, deaths and time are decided in one place.
 *
 * A script runs synchronously, in no time. What it would have taken is added up here: `nowMs` moves
 * ahead of real time, what the run writes becomes visible to others at that later moment, and the
 * answer is held back until then.
 */
import type { Fault } from "./injections.ts";
import type { Owner, QuotaName } from "./owner.ts";
import type { Project } from "./project.ts";
import type { World } from "./world.ts";
import { digest } from "./columns.ts";
import { exceptionText } from "./texts.ts";

/** Google cuts a script after six minutes. */
const RUN_LIMIT_MS = 360_000;

/** Thrown by every service once the run is dead: whatever the script still does has no effect. */
export class ScriptKilled extends Error {}

/** What a Google service throws. */
export class Exception extends Error {
  override name = "Exception";
}

export class Run {
  /** Set from the script's own log lines; effects are booked to it. */
  step: string | null = null;
  killed: "fault" | "time" | null = null;
  readonly id: number;
  readonly startedAtMs = Date.now();
  #aheadMs = 0;
  #claimed = false;
  #stretched = false;
  #acted = false;
  /** Places passed so far at which an injected fault can fall. */
  #passed = 0;
  #ordinals = new Map<string, number>();

  constructor(
    readonly world: World,
    readonly owner: Owner,
    readonly project: Project,
    readonly op: string,
    readonly executionId: string | null,
    /** True if a step of the flow calls a Google service. */
    readonly usesServices: boolean,
    readonly fault: Fault | null,
    /** Extra real milliseconds of an injected slowness, and where they fall. */
    readonly extraMs: number,
    readonly extraAt: "claim" | "effect",
  ) {
    this.id = world.nextRunId();
  }

  /** Real milliseconds at which this run is now, ahead of the wall clock by what it took. */
  get nowMs(): number {
    return Date.now() + this.#aheadMs;
  }

  get aheadMs(): number {
    return this.#aheadMs;
  }

  /** What `Date.now()` says inside the script. */
  get scriptNowMs(): number {
    return this.nowMs + this.world.clock.scriptAheadMs;
  }

  get locale(): string {
    return this.project.locale ?? this.owner.locale;
  }

  /** Every service call comes through here first: a dead run does nothing more. */
  enter(costMs: number): void {
    if (this.killed) throw new ScriptKilled();
    this.spend(this.world.latency.serviceCall(costMs));
  }

  spend(ms: number): void {
    this.#aheadMs += ms;
    const over = this.nowMs - this.startedAtMs - RUN_LIMIT_MS;
    if (over <= 0) return;
    this.#aheadMs -= over;
    this.die("time");
  }

  /** A call of one of the account's services (mail, files, sheets, calendar): may be refused. */
  use(service: string, costMs: number): void {
    this.enter(costMs);
    if (this.fault?.exception && this.#isTheOne()) {
      throw this.exception(this.fault.exception, service);
    }
  }

  charge(quota: QuotaName, amount = 1): void {
    if (!this.owner.spend(quota, amount)) {
      throw this.exception("daily_quota", quota === "mail" ? "email" : quota);
    }
  }

  exception(kind: string, service: string): Exception {
    return new Exception(exceptionText(kind, service, this.locale));
  }

  /** Before the script lock: where faults fall that find no service call of the flow to fall on. */
  beforeClaim(): void {
    this.enter(0);
    if (this.fault?.lock) throw this.exception("lock", "lock");
    if (!this.usesServices && this.fault?.exception) {
      throw this.exception(this.fault.exception, "gmail");
    }
  }

  /** The first release of the script lock: the claim is made, the steps come next. */
  lockReleased(): void {
    if (this.#claimed) return;
    this.#claimed = true;
    if (this.extraAt === "claim") this.#stretch();
  }

  /** Before a property is written: behind the claim, the first is a step's marker. */
  beforeWrite(): void {
    if (this.#claimed && this.fault?.kill === "before_marker" && this.#isTheOne()) {
      this.die("fault");
    }
  }

  /**
   * Books a side effect. `details` is hashed, never kept. With `counted`, equal effects of one run
   * are told apart by their order (two equal rows are two effects, two equal mails a mistake).
   */
  effect(kind: string, details: unknown[], counted = false): void {
    let text = kind + "\u0000" + JSON.stringify(details);
    if (counted) {
      const ordinal = this.#ordinals.get(text) ?? 0;
      this.#ordinals.set(text, ordinal + 1);
      text += "\u0000" + ordinal;
    }
    this.world.effects.add({
      executionId: this.executionId ?? "",
      run: this.id,
      step: this.step ?? "",
      kind,
      instance: this.project.name,
      owner: this.owner.name,
      detailHash: digest(text),
      atMs: this.scriptNowMs,
    });
    if (!this.#acted && this.extraAt === "effect") this.#stretch();
    this.#acted = true;
    if (this.fault?.kill === "mid_effect" && this.#isTheOne()) this.die("fault");
  }

  die(why: "fault" | "time"): never {
    this.killed = why;
    throw new ScriptKilled();
  }

  #isTheOne(): boolean {
    return ++this.#passed === (this.fault?.nth ?? 1);
  }

  #stretch(): void {
    if (this.#stretched) return;
    this.#stretched = true;
    this.spend(this.extraMs);
  }

  /** The script has returned: a slowness that found no place yet falls here. */
  finish(): void {
    try {
      this.#stretch();
    } catch (error) {
      if (!(error instanceof ScriptKilled)) throw error;
    }
    this.project.lock.scriptEnded(this);
  }
}
