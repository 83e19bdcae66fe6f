/** Numbers in bulk: growing columns and a set, each in one flat piece of memory. */

type Numbers = Float64Array | Uint32Array;

/** A list of numbers that doubles its room when it is full. */
export class Column<T extends Numbers> {
  #values: T;
  length = 0;

  constructor(readonly make: (size: number) => T) {
    this.#values = make(1024);
  }

  push(value: number): number {
    if (this.length === this.#values.length) {
      const larger = this.make(2 * this.length);
      larger.set(this.#values);
      this.#values = larger;
    }
    this.#values[this.length] = value;
    return this.length++;
  }

  at(index: number): number {
    return this.#values[index];
  }
}

/** A set of numbers above zero: open addressing, at most half full. */
export class NumberSet {
  #slots = new Float64Array(4096);
  size = 0;

  /** True if the number is new. */
  add(value: number): boolean {
    if (2 * this.size >= this.#slots.length) this.#grow();
    if (!this.#insert(value)) return false;
    this.size++;
    return true;
  }

  #insert(value: number): boolean {
    let slot = value % this.#slots.length;
    while (this.#slots[slot] !== 0) {
      if (this.#slots[slot] === value) return false;
      slot = (slot + 1) % this.#slots.length;
    }
    this.#slots[slot] = value;
    return true;
  }

  #grow(): void {
    const old = this.#slots;
    this.#slots = new Float64Array(2 * old.length);
    for (const value of old) if (value !== 0) this.#insert(value);
  }
}

/** A 53-bit hash (cyrb53), never zero: equal texts give equal numbers, others practically never. */
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
  return 4294967296 * (2097151 & b) + (a >>> 0) || 1;
}
