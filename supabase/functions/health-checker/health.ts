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

/**
 * Errors that a working database has answered: an SQLSTATE other than the classes for lost
 * connections (08), lacking resources (53) and shutting down (57P), or PostgREST's from 100 up.
 */
const ANSWERED = /^((?!08|53|57P)[0-9A-Z]{5}|PGRST[1-9]\d\d)$/;

export async function checkHealth(client: Client): Promise<Response> {
  const { data, error } = await client.rpc("get_queue_status")
    .abortSignal(AbortSignal.timeout(DEADLINE_MS));
  const isHealthy = error === null;
  const health: Health = {
    status: isHealthy ? "ok" : "unavailable",
    // PGRST0xx is PostgREST without a database; no code at all came from before PostgREST.
    database: isHealthy || ANSWERED.test(error.code) ? "ok" : "unreachable",
    queue: isHealthy ? (data.paused ? "paused" : "running") : "unknown",
    checked_at: new Date().toISOString(),
  };
  return json(health, { status: isHealthy ? 200 : 503 });
}
