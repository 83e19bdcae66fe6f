/** The check itself: one call of get_queue_status, and what its outcome says. */

import type { Client } from "../_shared/client.ts";
import { json } from "../_shared/json.ts";

export interface Health {
  status: "ok" | "unavailable";
  database: "ok" | "unreachable";
  /** `unknown`: unreachable, or the migrations are not applied. */
  queue: "running" | "paused" | "unknown";
  /** ISO 8601, UTC. */
  checked_at: string;
}

/** Longer than a healthy answer ever takes, shorter than a monitor waits. */
const DEADLINE_MS = 5_000;

/** Errors that Postgres or PostgREST has answered: five characters, or PGRST and a number. */
const ANSWERED = /^([0-9A-Z]{5}|PGRST[1-9]\d\d)$/;

export async function checkHealth(client: Client): Promise<Response> {
  const { data, error } = await client.rpc("get_queue_status")
    .abortSignal(AbortSignal.timeout(DEADLINE_MS));
  const isHealthy = error === null;
  const health: Health = {
    status: isHealthy ? "ok" : "unavailable",
    // PGRST0xx is PostgREST without a database; anything else without an SQL code came from before it.
    database: isHealthy || ANSWERED.test(error.code) ? "ok" : "unreachable",
    queue: isHealthy ? (data.paused ? "paused" : "running") : "unknown",
    checked_at: new Date().toISOString(),
  };
  return json(health, { status: isHealthy ? 200 : 503 });
}
