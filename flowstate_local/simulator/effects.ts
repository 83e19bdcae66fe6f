/**
 * The ledger of effects: what was done to the world outside, by which run of which execution.
 * It is the oracle of tests and benchmarks. Kept in columns, since it grows by one row per effect
 * and has to hold a million; details are hashed, never kept.
 */

export interface Effect {
  executionId: string;
  run: number;
  step: string;
  kind: string;
  instance: string;
  owner: string;
  detailHash: number;
  atMs: number;
}

/** A 53-bit hash (cyrb53): equal texts give equal numbers, others practically never. */
export function digest(text: string): number {
  let a = 0xdeadbeef;
  let b = 0x41c6ce57;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    a = Math.imul(a ^ c, 2654435761);
    b = Math.imul(b ^ c, 1597334677);
  }
  a = Math.imul(a ^ (a >>> 16), 2246822507) ^ Math.imul(b ^ (b >>> 13), 3266489909);
  b = Math.imul(b ^ (b >>> 16), 2246822507) ^ Math.imul(a ^ (a >>> 13), 3266489909);
  return 4294967296 * (2097151 & b) + (a >>> 0);
}

/** Few different words, many uses: each is kept once. */
class Words {
  #numbers = new Map<string, number>();
  #words: string[] = [];

  number(word: string): number {
    let known = this.#numbers.get(word);
    if (known === undefined) {
      known = this.#words.push(word) - 1;
      this.#numbers.set(word, known);
    }
    return known;
  }

  word(number: number): string {
    return this.#words[number];
  }
}

export class EffectsLedger {
  /** The same effect of the same execution, done more than once. */
  duplicates = 0;
  #words = new Words();
  #ids: string[] = [];
  #runs: number[] = [];
  #labels: number[] = [];
  #hashes: number[] = [];
  #times: number[] = [];
  #duplicateRows = new Set<number>();
  #seen = new Set<number>();

  get size(): number {
    return this.#ids.length;
  }

  add(effect: Effect): void {
    const row = this.#ids.push(effect.executionId) - 1;
    this.#runs.push(effect.run);
    const label = [effect.step, effect.kind, effect.instance, effect.owner].join("\u0000");
    this.#labels.push(this.#words.number(label));
    this.#hashes.push(effect.detailHash);
    this.#times.push(effect.atMs);
    const key = digest(effect.executionId + "\u0000" + effect.detailHash);
    if (this.#seen.has(key)) {
      this.duplicates += 1;
      this.#duplicateRows.add(row);
    }
    this.#seen.add(key);
  }

  *rows(): Generator<Record<string, unknown>> {
    for (let row = 0; row < this.#ids.length; row++) {
      const [step, kind, instance, owner] = this.#words.word(this.#labels[row]).split("\u0000");
      yield {
        executionId: this.#ids[row],
        run: this.#runs[row],
        step,
        kind,
        instance,
        owner,
        detail_hash: this.#hashes[row].toString(16).padStart(14, "0"),
        at: new Date(this.#times[row]).toISOString(),
        duplicate: this.#duplicateRows.has(row),
      };
    }
  }
}
