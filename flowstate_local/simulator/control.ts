/** `/_sim/*` on the exec origin: how tests and benchmarks look at the simulator and move it. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { DOCUMENTED_LATENCY } from "./clock.ts";
import { parseInstance, parseOwner } from "./config.ts";
import { parseFault } from "./google_oauth.ts";
import { readBody, sendJson } from "./http.ts";
import { parseInjection } from "./injections.ts";
import type { World } from "./world.ts";

type Body = Record<string, unknown>;
type Handler = (world: World, body: Body, url: URL) => unknown;

function number(body: Body, name: string): number {
  const value = body[name];
  if (typeof value !== "number" || !Number.isFinite(value) || value < 0) {
    throw new TypeError(`${name} must be a number of 0 or more`);
  }
  return value;
}

function text(body: Body, name: string): string {
  const value = body[name];
  if (typeof value !== "string" || value === "") {
    throw new TypeError(`${name} must be a non-empty text`);
  }
  return value;
}

function settings(world: World, body: Body): unknown {
  for (const name of Object.keys(body)) {
    if (!["time_scale", "latency", "quotas", "echo_reads"].includes(name)) {
      throw new TypeError(
        `${name} is no setting; there are time_scale, latency, quotas, echo_reads`,
      );
    }
  }
  const latency = (body.latency ?? {}) as Record<string, unknown>;
  for (const name of Object.keys(latency)) {
    if (!Object.hasOwn(DOCUMENTED_LATENCY, name)) throw new TypeError(`latency has no ${name}`);
    number(latency, name);
  }
  if (body.quotas !== undefined && typeof body.quotas !== "boolean") {
    throw new TypeError("quotas must be true or false");
  }
  if (body.echo_reads !== undefined && body.echo_reads !== "once" && body.echo_reads !== "60s") {
    throw new TypeError("echo_reads must be once or 60s");
  }
  if (body.time_scale !== undefined) world.latency.timeScale = number(body, "time_scale");
  Object.assign(world.latency.settings, latency);
  if (body.quotas !== undefined) world.settings.quotas = body.quotas as boolean;
  if (body.echo_reads !== undefined) world.echo.reads = body.echo_reads as "once";
  return {
    time_scale: world.latency.timeScale,
    latency: world.latency.settings,
    quotas: world.settings.quotas,
    echo_reads: world.echo.reads,
  };
}

/** Quota ledgers always move; what scripts, caches and mailboxes take for now only if asked to. */
function clock(world: World, body: Body): unknown {
  const seconds = number(body, "advance_seconds");
  world.clock.ledgerAheadSeconds += seconds;
  if (body.scripts === true) world.clock.scriptAheadSeconds += seconds;
  return {
    ledger_ahead_seconds: world.clock.ledgerAheadSeconds,
    script_ahead_seconds: world.clock.scriptAheadSeconds,
  };
}

function summary(world: World): unknown {
  return {
    ...world.stats.summary(),
    effects: world.effects.size,
    duplicate_effects: world.effects.duplicates,
    memory_bytes: Deno.memoryUsage().rss,
  };
}

const ROUTES: Record<string, Handler> = {
  "GET /_sim/health": () => ({ status: "ok" }),
  "GET /_sim/summary": summary,
  "GET /_sim/effects": (world, _, url) => {
    const wanted = url.searchParams.get("execution_id");
    return [...world.effects.rows()].filter((row) => !wanted || row.executionId === wanted);
  },
  "GET /_sim/calls": (world) => world.stats.recent(),
  "GET /_sim/instances": (world) =>
    [...world.projects.values()].map(({ deploymentId, name, owner }) => ({
      deployment_id: deploymentId,
      name,
      owner,
    })),
  "GET /_sim/owners": (world) =>
    [...world.owners.values()].map((owner) => ({
      owner: owner.name,
      account_type: owner.accountType,
      in_flight: owner.inFlight,
      mail_used: owner.used("mail"),
      gmail_used: owner.used("gmail"),
      properties_used: owner.used("properties"),
      files: owner.drive.files.length,
      events: owner.calendar.events.length,
    })),
  "GET /_sim/sheets": (world, _, url) => {
    const owner = world.owners.get(url.searchParams.get("owner") ?? "");
    if (!owner) throw new TypeError("owner must name an account");
    return Object.fromEntries(owner.sheets.books);
  },
  "POST /_sim/owners": (world, body) => ({ owner: world.addOwner(parseOwner(body)).name }),
  "POST /_sim/instances": (world, body) => ({
    deployment_id: world.addInstance(parseInstance(body)).deploymentId,
  }),
  "GET /_sim/injections": (world) => world.injections.list(),
  "POST /_sim/injections": (world, body) => ({ id: world.injections.add(parseInjection(body)) }),
  "DELETE /_sim/injections": (world, _, url) => {
    const id = url.searchParams.get("id");
    world.injections.clear(id === null ? undefined : Number(id));
    return {};
  },
  "GET /_sim/google": (world) => world.oauth.summary(),
  "POST /_sim/google/clients": (world, body) => {
    world.oauth.addClient(text(body, "client_id"), text(body, "client_secret"));
    return {};
  },
  "POST /_sim/google/grants": (world, body) =>
    world.oauth.consent(text(body, "client_id"), text(body, "scope")),
  "POST /_sim/google/withdraw": (world, body) => {
    world.oauth.withdraw(text(body, "refresh_token"));
    return {};
  },
  "POST /_sim/google/faults": (world, body) => {
    world.oauth.inject(parseFault(body));
    return {};
  },
  "DELETE /_sim/google/faults": (world) => {
    world.oauth.heal();
    return {};
  },
  "POST /_sim/clock": clock,
  "POST /_sim/settings": settings,
  "POST /_sim/reset": (world) => {
    world.reset();
    return {};
  },
};

export async function handleControl(
  world: World,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const url = new URL(request.url ?? "/", "http://control");
  const handler = ROUTES[`${request.method} ${url.pathname}`];
  if (!handler) return sendJson(response, { error: "there is no such control call" }, 404);
  try {
    const text = await readBody(request);
    const body = text === "" ? {} : JSON.parse(text);
    sendJson(response, handler(world, body, url));
  } catch (error) {
    sendJson(response, { error: (error as Error).message }, 400);
  }
}
