/**
 * A key-value store whose writes become visible at the moment their run has reached, so that a
 * second run which looks in the middle of a slow one sees what it would see on Google.
 */

interface Pending<V> {
  atMs: number;
  key: string;
  value: V | undefined;
}

export class TimedStore<V> {
  #settled = new Map<string, V>();
  #pending: Pending<V>[] = [];

  /** The value of a key as of `atMs`, or undefined. */
  get(key: string, atMs: number): V | undefined {
    this.#settle();
    let value = this.#settled.get(key);
    for (const write of this.#pending) {
      if (write.atMs > atMs) break;
      if (write.key === key) value = write.value;
    }
    return value;
  }

  set(key: string, value: V | undefined, atMs: number): void {
    this.#settle();
    if (this.#pending.length === 0 && atMs <= Date.now()) {
      this.#apply(key, value);
      return;
    }
    const behind = this.#pending.findIndex((write) => write.atMs > atMs);
    const at = behind < 0 ? this.#pending.length : behind;
    this.#pending.splice(at, 0, { atMs, key, value });
  }

  entries(atMs: number): Map<string, V> {
    this.#settle();
    if (this.#pending.length === 0) return this.#settled;
    const view = new Map(this.#settled);
    for (const write of this.#pending) {
      if (write.atMs > atMs) break;
      if (write.value === undefined) view.delete(write.key);
      else view.set(write.key, write.value);
    }
    return view;
  }

  clear(): void {
    this.#settled.clear();
    this.#pending = [];
  }

  #apply(key: string, value: V | undefined): void {
    this.#settled.delete(key);
    if (value !== undefined) this.#settled.set(key, value);
  }

  #settle(): void {
    if (this.#pending.length === 0) return;
    const now = Date.now();
    let done = 0;
    while (done < this.#pending.length && this.#pending[done].atMs <= now) {
      const write = this.#pending[done++];
      this.#apply(write.key, write.value);
    }
    this.#pending.splice(0, done);
  }
}
