/**
 * Time and chance. The ledgers' clock and the scripts' clock are real time plus what tests added
 * to each; randomness has a seed; latencies are drawn from the documented distributions.
 */

export class Clock {
  /** Seconds added for the owners' 24 h quota ledgers. */
  ledgerAheadSeconds = 0;
  /** Seconds added to what scripts, caches and mailboxes take for the present. */
  scriptAheadSeconds = 0;

  ledgerNow(): number {
    return Date.now() + this.ledgerAheadSeconds * 1000;
  }

  get scriptAheadMs(): number {
    return this.scriptAheadSeconds * 1000;
  }
}

/** mulberry32: a small generator, good enough for latencies and dice. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** A number from 0 (inclusive) to 1 (exclusive). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }

  between(low: number, high: number): number {
    return low + (high - low) * this.next();
  }

  integer(below: number): number {
    return Math.floor(this.next() * below);
  }

  pick<T>(items: readonly T[]): T {
    return items[this.integer(items.length)];
  }

  normal(): number {
    const u = 1 - this.next();
    return Math.sqrt(-2 * Math.log(u)) * Math.cos(2 * Math.PI * this.next());
  }
}

export interface LatencySettings {
  first_hop_median_ms: number;
  first_hop_sigma: number;
  cold_after_ms: number;
  cold_min_ms: number;
  cold_max_ms: number;
  second_hop_median_ms: number;
  second_hop_sigma: number;
  slow_echo_share: number;
  slow_echo_min_ms: number;
  slow_echo_max_ms: number;
}

export const DOCUMENTED_LATENCY: LatencySettings = {
  first_hop_median_ms: 900,
  first_hop_sigma: 0.35,
  cold_after_ms: 15 * 60 * 1000,
  cold_min_ms: 800,
  cold_max_ms: 2200,
  second_hop_median_ms: 120,
  second_hop_sigma: 0.35,
  slow_echo_share: 0.005,
  slow_echo_min_ms: 30_000,
  slow_echo_max_ms: 45_000,
};

/** Draws waiting times, in real milliseconds: the time scale is applied here and nowhere else. */
export class Latency {
  settings: LatencySettings = { ...DOCUMENTED_LATENCY };
  #random: Random;

  constructor(seed: number, public timeScale: number) {
    this.#random = new Random(seed ^ 0x5eed);
  }

  firstHop(idleMs: number): number {
    if (this.timeScale === 0) return 0;
    const s = this.settings;
    let ms = s.first_hop_median_ms * Math.exp(s.first_hop_sigma * this.#random.normal());
    if (idleMs > s.cold_after_ms) ms += this.#random.between(s.cold_min_ms, s.cold_max_ms);
    return ms * this.timeScale;
  }

  secondHop(): number {
    if (this.timeScale === 0) return 0;
    const s = this.settings;
    const slow = this.#random.next() < s.slow_echo_share;
    const ms = slow
      ? this.#random.between(s.slow_echo_min_ms, s.slow_echo_max_ms)
      : s.second_hop_median_ms * Math.exp(s.second_hop_sigma * this.#random.normal());
    return ms * this.timeScale;
  }

  /** What one call of a Google service costs a script. */
  serviceCall(ms: number): number {
    return ms * this.timeScale;
  }
}

export function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
