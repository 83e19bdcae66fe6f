/**
 * The ledger of effects: what was done to the world outside, by which run of which execution.
 * It is the oracle of tests and benchmarks. Kept in columns, since it grows by one row per effect
 * and has to hold a million; details are hashed, never kept.
 */
import { Column, digest, NumberSet } from "./columns.ts";

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

const integers = () => new Column((size) => new Uint32Array(size));
const doubles = () => new Column((size) => new Float64Array(size));

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

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** Execution ids: UUIDs as four numbers each, anything else as it is. */
class Ids {
  #parts = integers();
  #others = new Map<number, string>();

  push(id: string): number {
    const row = this.#parts.length / 4;
    if (!UUID.test(id)) this.#others.set(row, id);
    const digits = UUID.test(id) ? id.replaceAll("-", "") : "0".repeat(32);
    for (let i = 0; i < 32; i += 8) this.#parts.push(parseInt(digits.slice(i, i + 8), 16));
    return row;
  }

  at(row: number): string {
    const other = this.#others.get(row);
    if (other !== undefined) return other;
    const digits = [0, 1, 2, 3]
      .map((i) => this.#parts.at(4 * row + i).toString(16).padStart(8, "0"))
      .join("");
    return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
  }
}

export class EffectsLedger {
  /** The same effect of the same execution, done more than once. */
  duplicates = 0;
  #labelWords = new Words();
  #ids = new Ids();
  #runs = integers();
  #labels = integers();
  #hashes = doubles();
  #times = doubles();
  #seen = new NumberSet();
  #duplicateRows = new Set<number>();

  get size(): number {
    return this.#runs.length;
  }

  add(effect: Effect): void {
    const row = this.#ids.push(effect.executionId);
    const label = [effect.step, effect.kind, effect.instance, effect.owner].join("\u0000");
    this.#runs.push(effect.run);
    this.#labels.push(this.#labelWords.number(label));
    this.#hashes.push(effect.detailHash);
    this.#times.push(effect.atMs);
    if (this.#seen.add(digest(effect.executionId + "\u0000" + effect.detailHash))) return;
    this.duplicates += 1;
    this.#duplicateRows.add(row);
  }

  *rows(): Generator<Record<string, unknown>> {
    for (let row = 0; row < this.size; row++) {
      const label = this.#labelWords.word(this.#labels.at(row));
      const [step, kind, instance, owner] = label.split("\u0000");
      yield {
        executionId: this.#ids.at(row),
        run: this.#runs.at(row),
        step,
        kind,
        instance,
        owner,
        detail_hash: this.#hashes.at(row).toString(16).padStart(14, "0"),
        at: new Date(this.#times.at(row)).toISOString(),
        duplicate: this.#duplicateRows.has(row),
      };
    }
  }
}
