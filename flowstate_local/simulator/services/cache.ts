/** CacheService: 100 KB a value, 6 hours at most, 1,000 items; may forget. */
import type { CacheEntry } from "../project.ts";
import { Exception, type Run } from "../run.ts";

const MAX_KEY = 250;
const MAX_VALUE_BYTES = 100 * 1024;
const MAX_SECONDS = 21_600;
const MAX_ITEMS = 1_000;
/** Above the cap, Google keeps the 900 items that expire last. */
const KEEP_ITEMS = 900;

class Cache {
  constructor(readonly run: Run) {}

  get(key: string): string | null {
    this.run.enter(5);
    const entry = this.#store.get(key, this.run.nowMs);
    return entry && entry.expiresAtMs > this.run.scriptNowMs ? entry.value : null;
  }

  put(key: string, value: string, expirationInSeconds = 600): void {
    this.run.enter(5);
    if (key.length > MAX_KEY) throw new Exception("Argument too large: key");
    if (value.length > MAX_VALUE_BYTES) throw new Exception("Argument too large: value");
    if (expirationInSeconds < 1 || expirationInSeconds > MAX_SECONDS) {
      throw new Exception("Invalid argument: expirationInSeconds");
    }
    const expiresAtMs = this.run.scriptNowMs + expirationInSeconds * 1000;
    this.#store.set(key, { value, expiresAtMs }, this.run.nowMs);
    const entries = this.#store.entries(this.run.nowMs);
    if (entries.size > MAX_ITEMS) this.#makeRoom(entries);
  }

  #makeRoom(entries: Map<string, CacheEntry>): void {
    const byExpiry = [...entries].sort(([, a], [, b]) => b.expiresAtMs - a.expiresAtMs);
    for (const [key] of byExpiry.slice(KEEP_ITEMS)) {
      this.#store.set(key, undefined, this.run.nowMs);
    }
  }

  get #store() {
    return this.run.project.cache;
  }
}

export class CacheService {
  constructor(readonly run: Run) {}

  getScriptCache(): Cache {
    return new Cache(this.run);
  }
}
