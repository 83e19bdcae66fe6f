/** The second origin: the echo address, which hands a stored answer to one GET. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { wait } from "./clock.ts";
import { drop, send } from "./http.ts";
import { html, page, plain, redirect } from "./pages.ts";
import type { World } from "./world.ts";

export class EchoOrigin {
  constructor(readonly world: World, readonly execUrl: () => string) {}

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", "http://echo");
    request.resume();
    if (url.pathname !== "/macros/echo") return send(response, page("not_found", "en"));
    if (request.method === "POST" || request.method === "PUT") {
      const measured = request.headers["content-length"] || request.headers["transfer-encoding"];
      return send(
        response,
        measured ? plain(405, "Method Not Allowed") : plain(411, "Length Required"),
      );
    }
    if (request.method === "HEAD") return send(response, plain(403, ""));
    if (request.method !== "GET") return send(response, plain(405, "Method Not Allowed"));

    const key = url.searchParams.get("user_content_key") ?? "";
    const answer = this.world.echo.find(key);
    if (!answer) return send(response, page("not_found", "en"));
    const { fault } = answer;
    if (fault && fault.reads > 0) {
      fault.reads--;
      switch (fault.mode) {
        case "404":
          return send(response, page("not_found", "en"));
        case "bounce":
          return send(
            response,
            redirect(`${this.execUrl()}/macros/s/${answer.deploymentId}/exec`),
          );
        case "timeout":
          await wait(fault.ms);
          return drop(request);
        case "html":
          return send(response, html(200, "<!DOCTYPE html><html><body>Google</body></html>"));
        case "slow":
          await wait(fault.ms);
      }
    }
    const ms = this.world.latency.secondHop();
    if (ms > 0) await wait(ms);
    this.world.echo.wasRead(key);
    send(response, {
      status: 200,
      headers: { "content-type": `${answer.mimeType}; charset=utf-8`, "cache-control": "no-store" },
      body: answer.body,
    });
  }
}
