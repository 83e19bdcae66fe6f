/**
 * The Apps Script simulator: `deno run main.ts --config <json>`.
 *
 * It serves the two origins of a Google web app on loopback - exec, which runs the very Code.gs
 * that is deployed, and echo, where the answer is read - with accounts, quotas, slots, latencies
 * and sample mailboxes behind them, and control calls at `/_sim/` to inject faults and to see what
 * was done. Ports of 0 are chosen by the system; both are printed in one line of JSON at start.
 *
 * Where to look: run.ts one invocation of the script · runtime.ts how Code.gs is executed ·
 * services/ stand-ins for Google's services · faults.ts what can be injected · effects.ts the
 * ledger that tests ask · search/ Gmail's query language · google_oauth.ts the token endpoint,
 * which the exec origin serves as well.
 *
 * What is simplified: a script runs in no time and its duration is added up beside it (run.ts);
 * changes to mail, files, sheets and events are visible at once, while those to cache and
 * properties become visible at the moment the run has reached.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { parseConfig } from "./config.ts";
import { handleControl } from "./control.ts";
import { EchoOrigin } from "./echo_origin.ts";
import { ExecOrigin } from "./exec_origin.ts";
import { GoogleOAuth } from "./google_oauth.ts";
import { drop } from "./http.ts";
import { Runtime } from "./runtime.ts";
import { World } from "./world.ts";

type Handler = (request: IncomingMessage, response: ServerResponse) => Promise<void>;

function serve(port: number, handler: Handler): Promise<string> {
  const server = createServer((request, response) => {
    handler(request, response).catch((error) => {
      console.error(`${request.method} request failed:`, error);
      drop(request);
    });
  });
  server.keepAliveTimeout = 60_000;
  return new Promise((resolve, reject) => {
    server.on("error", reject);
    server.listen(port, "127.0.0.1", () => {
      resolve(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    });
  });
}

async function main(): Promise<void> {
  const at = Deno.args.indexOf("--config");
  if (at < 0 || !Deno.args[at + 1]) {
    console.error("usage: main.ts --config <json file>");
    Deno.exit(2);
  }
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    Deno.addSignalListener(signal, () => Deno.exit(0));
  }
  const world = await World.create(
    parseConfig(JSON.parse(Deno.readTextFileSync(Deno.args[at + 1]))),
  );
  const runtime = new Runtime(world.config.code_path);
  let execUrl = "";
  const echo = new EchoOrigin(world, () => execUrl);
  const echoUrl = await serve(world.config.echo_port, (q, r) => echo.handle(q, r));
  const exec = new ExecOrigin(world, runtime, () => echoUrl);
  execUrl = await serve(
    world.config.exec_port,
    (q, r) => {
      const path = q.url?.split("?")[0] ?? "/";
      if (path.startsWith("/_sim/")) return handleControl(world, q, r);
      return GoogleOAuth.serves(path) ? world.oauth.handle(q, r) : exec.handle(q, r);
    },
  );
  console.log(JSON.stringify({ exec_url: execUrl, echo_url: echoUrl }));
}

await main();
