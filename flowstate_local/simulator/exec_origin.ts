/**
 * The first origin: `/macros/s/{deployment}/exec`, as script.google.com serves it. A script's
 * answer is stored and the caller sent to the echo address; what goes wrong is a page.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { Buffer } from "node:buffer";
import { wait } from "./clock.ts";
import type { Outcome } from "./faults.ts";
import { BodyTooLarge, drop, readBody, send } from "./http.ts";
import type { Picked } from "./injections.ts";
import { SLOTS } from "./owner.ts";
import { loginRedirect, page, plain, redirect } from "./pages.ts";
import type { Project } from "./project.ts";
import { Run } from "./run.ts";
import type { Runtime, ScriptResult } from "./runtime.ts";
import type { World } from "./world.ts";

/** Shares of the first hop's latency that fall before and after the script itself. */
const BEFORE_SCRIPT = 0.6;

const PATH = /^\/macros\/s\/([^/]+)\/(?:exec|dev)(\/.*)?$/;

/** What the simulator reads of a body, to book effects and to aim faults. */
interface Envelope {
  op: string;
  executionId: string | null;
  usesServices: boolean;
}

const UNREADABLE: Envelope = { op: "unknown", executionId: null, usesServices: false };

export class ExecOrigin {
  constructor(
    readonly world: World,
    readonly runtime: Runtime,
    readonly echoUrl: () => string,
  ) {}

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", "http://script");
    const answer = (outcome: Outcome) =>
      outcome === "drop" ? drop(request) : send(response, outcome);
    const refusal = this.#refusal(request.method ?? "GET", url);
    if (refusal) return answer(refusal);
    const project = this.world.projects.get(PATH.exec(url.pathname)![1])!;
    const owner = this.world.ownerOf(project);
    const locale = project.locale ?? owner.locale;
    // Read before the slot is taken, so that a slow sender holds none.
    let body = "";
    try {
      body = await readBody(request);
    } catch (error) {
      return answer(error instanceof BodyTooLarge ? plain(413, "Payload Too Large") : "drop");
    }
    if (owner.inFlight >= SLOTS) return answer(page("concurrency", locale));
    owner.inFlight++;
    this.world.stats.enter(project.name, owner.name);
    let outcome: Outcome;
    try {
      outcome = await this.#call(request, url, project, body);
    } finally {
      owner.inFlight--;
      this.world.stats.leave(project.name, owner.name);
    }
    answer(outcome);
  }

  #refusal(method: string, url: URL): Outcome | null {
    const match = PATH.exec(url.pathname);
    if (!match) return page("not_found", "en");
    const [, id, extra] = match;
    if (extra) return loginRedirect(url.pathname);
    if (method === "HEAD") return plain(403, "");
    if (method !== "GET" && method !== "POST") return plain(405, "Method Not Allowed");
    if (url.searchParams.has("c") || url.searchParams.has("sid")) {
      return plain(405, "Method Not Allowed");
    }
    if (!this.world.projects.has(id)) return page("not_found", "en");
    return null;
  }

  async #call(
    request: IncomingMessage,
    url: URL,
    project: Project,
    body: string,
  ): Promise<Outcome> {
    const { world } = this;
    const owner = world.ownerOf(project);
    const locale = project.locale ?? owner.locale;
    const envelope = request.method === "GET" ? { ...UNREADABLE, op: "get" } : peek(body);
    const picked = world.injections.pick({
      instance: project.name,
      owner: owner.name,
      op: envelope.op,
      executionId: envelope.executionId,
      locale,
      path: url.pathname,
    });
    const idleMs = project.lastCallAtMs === null ? Infinity : Date.now() - project.lastCallAtMs;
    const hopMs = world.latency.firstHop(idleMs) * picked.factor;
    project.lastCallAtMs = Date.now();
    const { plan } = picked;
    if (hopMs > 0) await wait(hopMs * BEFORE_SCRIPT);

    const run = new Run(
      world,
      owner,
      project,
      envelope.op,
      envelope.executionId,
      envelope.usesServices,
      plan.fault ?? null,
      picked.extraMs,
      picked.extraAt,
    );
    let result: ScriptResult | null = null;
    if (!plan.before) {
      if (envelope.op === "run") world.stats.ran(envelope.executionId ?? "");
      result = this.runtime.run(run, request.method === "GET" ? "doGet" : "doPost", {
        postData: { contents: body, length: body.length, type: request.headers["content-type"] },
        parameter: Object.fromEntries(url.searchParams),
        queryString: url.search.slice(1),
      });
    } else run.spend(picked.extraMs);
    const restMs = Math.max(run.aheadMs, hopMs * (1 - BEFORE_SCRIPT));
    if (restMs > 0) await wait(restMs);
    if (plan.holdMs) await wait(plan.holdMs);
    world.stats.note({
      at: new Date().toISOString(),
      instance: project.name,
      op: envelope.op,
      executionId: envelope.executionId,
      fault: picked.category,
      answer: result?.kind ?? "not run",
    });
    return plan.before ?? plan.after ?? this.#answer(result!, picked, project, locale);
  }

  #answer(result: ScriptResult, picked: Picked, project: Project, locale: string): Outcome {
    switch (result.kind) {
      case "missing":
        return page("function_missing", locale, "doPost");
      case "nothing":
        return page("no_return", locale);
      case "error":
        return page("script_error", locale, result.text);
      case "killed":
        return page("timeout", locale);
    }
    const key = this.world.echo.put({
      body: picked.plan.wrongExecutionId ? withForeignId(result.text) : result.text,
      mimeType: result.mimeType,
      deploymentId: project.deploymentId,
      fault: picked.plan.echo ? { ...picked.plan.echo } : null,
    });
    return redirect(`${this.echoUrl()}/macros/echo?user_content_key=${key}&lib=sim`);
  }
}

function peek(body: string): Envelope {
  try {
    const inner = JSON.parse(Buffer.from(JSON.parse(body).body, "base64url").toString("utf8"));
    const steps: { type?: unknown }[] = Array.isArray(inner.steps) ? inner.steps : [];
    return {
      op: ["run", "result", "ping"].includes(inner.op) ? inner.op : "unknown",
      executionId: typeof inner.executionId === "string" ? inner.executionId : null,
      usesServices: steps.some((step) => String(step?.type).includes(".")),
    };
  } catch {
    return UNREADABLE;
  }
}

function withForeignId(text: string): string {
  return JSON.stringify({ ...JSON.parse(text), executionId: crypto.randomUUID() });
}
