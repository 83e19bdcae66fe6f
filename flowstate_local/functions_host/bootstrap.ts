/**
 * Runs inside a worker, around one function that does not know of it.
 *
 * Functions call `Deno.serve(handler)` (or export a default object with `fetch`) and expect the
 * platform to choose the address. So `Deno.serve` is put in front of the real one: it listens on a
 * free loopback port, whatever was asked for, and tells the router where.
 */

import type { BootReport } from "./function_worker.ts";

type Handler = Deno.ServeHandler;

const scope = self as unknown as {
  postMessage(report: BootReport): void;
  onmessage: ((event: MessageEvent<string>) => void) | null;
};

const realServe = Deno.serve;
let isServing = false;

function serve(...args: unknown[]): Deno.HttpServer {
  const options = args.find((arg) => typeof arg === "object" && arg !== null) as
    | { handler?: Handler; onError?: (error: unknown) => Response }
    | undefined;
  const handler = (args.find((arg) => typeof arg === "function") ?? options?.handler) as Handler;
  isServing = true;
  return realServe({
    hostname: "127.0.0.1",
    port: 0,
    onListen: ({ port }) => scope.postMessage({ origin: `http://127.0.0.1:${port}` }),
    ...(options?.onError ? { onError: options.onError } : {}),
  }, handler);
}

Object.defineProperty(Deno, "serve", { value: serve });

// The edge runtime's way to finish work after the answer: a worker outlives its requests anyway.
Object.defineProperty(globalThis, "EdgeRuntime", {
  value: { waitUntil: (work: Promise<unknown>) => void work.catch((e) => console.error(e)) },
});

scope.onmessage = async ({ data: entrypoint }) => {
  try {
    const module = await import(entrypoint);
    if (!isServing && typeof module.default?.fetch === "function") {
      serve((request: Request) => module.default.fetch(request));
    }
    if (!isServing) scope.postMessage({ error: "it neither calls Deno.serve nor exports fetch" });
  } catch (error) {
    scope.postMessage({ error: error instanceof Error ? `${error.stack}` : String(error) });
  }
};
