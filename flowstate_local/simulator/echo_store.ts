/**
 * Answers that wait at the echo address. One is read once, or - if tests ask for it - as often as
 * wanted for 60 s; unread ones are dropped after that time.
 */
import type { EchoFault } from "./faults.ts";

const KEEP_MS = 60_000;

export interface StoredAnswer {
  body: string;
  mimeType: string;
  deploymentId: string;
  fault: EchoFault | null;
  expiresAtMs: number;
}

export class EchoStore {
  reads: "once" | "60s" = "once";
  #answers = new Map<string, StoredAnswer>();

  put(answer: Omit<StoredAnswer, "expiresAtMs">): string {
    const now = Date.now();
    for (const [key, { expiresAtMs }] of this.#answers) {
      if (expiresAtMs > now) break;
      this.#answers.delete(key);
    }
    const key = "AehSKL" + crypto.randomUUID().replaceAll("-", "");
    this.#answers.set(key, { ...answer, expiresAtMs: now + KEEP_MS });
    return key;
  }

  /** The answer behind a key, or undefined if it never was, was read, or is too old. */
  find(key: string): StoredAnswer | undefined {
    const answer = this.#answers.get(key);
    return answer && answer.expiresAtMs > Date.now() ? answer : undefined;
  }

  wasRead(key: string): void {
    if (this.reads === "once") this.#answers.delete(key);
  }

  clear(): void {
    this.#answers.clear();
  }
}
