/** One function's worker, seen from the router: started, asked where it listens, ended. */

/** What bootstrap.ts reports: where the function listens, or why it does not. */
export type BootReport = { origin: string } | { error: string };

/** A first start may have to compile dependencies. */
const BOOT_MS = 30_000;

export class FunctionWorker {
  /** Where the function listens; rejects when it could not be started. */
  readonly origin: Promise<string>;
  /** True once the worker is gone; the next request needs a new one. */
  hasEnded = false;

  #worker = new Worker(import.meta.resolve("./bootstrap.ts"), { type: "module" });

  constructor(entrypoint: string) {
    this.origin = new Promise((resolve, reject) => {
      const fail = (reason: string) => {
        this.end();
        reject(new Error(reason));
      };
      const timer = setTimeout(() => fail(`no Deno.serve within ${BOOT_MS} ms`), BOOT_MS);
      this.#worker.onmessage = ({ data }: MessageEvent<BootReport>) => {
        clearTimeout(timer);
        if ("origin" in data) resolve(data.origin);
        else fail(data.error);
      };
      this.#worker.onerror = (event) => {
        event.preventDefault(); // one function's crash must not end the host
        clearTimeout(timer);
        console.error(event.message);
        fail(event.message);
      };
    });
    this.origin.catch(() => {}); // reported to whoever asked for the function
    this.#worker.postMessage(entrypoint);
  }

  end(): void {
    this.hasEnded = true;
    this.#worker.terminate();
  }
}
