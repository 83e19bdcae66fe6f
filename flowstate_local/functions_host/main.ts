/**
 * The router of the functions host: `/<name>/…` goes to the worker of function <name>.
 *
 * Started as `deno run … main.ts --config <json>` with {port, functions_dir, env}; see command() in
 * __init__.py for the permissions. Ends on SIGTERM at once.
 */

import { FunctionWorker } from "./function_worker.ts";

interface HostConfig {
  port: number;
  functions_dir: string;
  /** What functions find in Deno.env: SUPABASE_URL, the keys, and so on. */
  env: Record<string, string>;
}

const FUNCTION_NAME = /^[A-Za-z][A-Za-z0-9_-]*$/;

/** Hosted functions are given up after 150 s (free) or 400 s; the smaller one shows up earlier. */
const WALL_CLOCK_MS = 150_000;

const WORKER_LIMIT_STATUS = 546;

function readConfig(args: string[]): HostConfig {
  const path = args[args.indexOf("--config") + 1];
  if (args.indexOf("--config") < 0 || !path) {
    throw new Error("usage: deno run … main.ts --config <json>");
  }
  return JSON.parse(Deno.readTextFileSync(path));
}

function failure(status: number, code: string, message: string): Response {
  return Response.json({ code, message }, { status, headers: { "x-relay-error": "true" } });
}

async function isFunction(functionsDir: string, name: string): Promise<boolean> {
  if (!FUNCTION_NAME.test(name)) return false; // also keeps _shared and dots out
  try {
    return (await Deno.stat(`${functionsDir}/${name}/index.ts`)).isFile;
  } catch {
    return false;
  }
}

function router(functionsDir: string): (request: Request) => Promise<Response> {
  const workers = new Map<string, FunctionWorker>();

  return async (request) => {
    const url = new URL(request.url);
    if (url.pathname === "/_internal/health") return Response.json({ message: "ok" });
    const name = url.pathname.split("/")[1] ?? "";
    if (!await isFunction(functionsDir, name)) {
      return failure(404, "NOT_FOUND", "Requested function was not found");
    }
    let worker = workers.get(name);
    if (worker === undefined || worker.hasEnded) {
      worker = new FunctionWorker(`file://${functionsDir}/${name}/index.ts`);
      workers.set(name, worker);
    }
    return await answer(worker, request, url, name);
  };
}

async function answer(
  worker: FunctionWorker,
  request: Request,
  url: URL,
  name: string,
): Promise<Response> {
  let origin: string;
  try {
    origin = await worker.origin;
  } catch (error) {
    console.error(`${name} did not start: ${error instanceof Error ? error.message : error}`);
    return failure(503, "BOOT_ERROR", "Function failed to start (please check logs)");
  }
  const headers = new Headers(request.headers);
  headers.set("accept-encoding", "identity"); // else fetch would unpack what the headers call packed
  try {
    return await fetch(origin + url.pathname + url.search, {
      method: request.method,
      headers,
      body: request.body,
      redirect: "manual",
      signal: AbortSignal.timeout(WALL_CLOCK_MS),
    });
  } catch (error) {
    if (error instanceof DOMException && error.name === "TimeoutError") {
      worker.end(); // it may be in an endless loop, and would answer nobody again
      return failure(WORKER_LIMIT_STATUS, "WORKER_LIMIT", "Function took too long to answer");
    }
    return failure(500, "WORKER_ERROR", "Function exited due to an error (please check logs)");
  }
}

if (import.meta.main) {
  const config = readConfig(Deno.args);
  for (const [name, value] of Object.entries(config.env)) Deno.env.set(name, value);
  Deno.addSignalListener("SIGTERM", () => Deno.exit(0));
  Deno.addSignalListener("SIGINT", () => Deno.exit(0));
  const functionsDir = Deno.realPathSync(config.functions_dir);
  Deno.serve({ hostname: "127.0.0.1", port: config.port }, router(functionsDir));
}
