/**
 * `GET /functions/v1/health-checker`: do the API, the database and the queue's functions answer?
 *
 * 200 `{status: "ok", database: "ok", queue: "running" | "paused", checked_at}`, or 503 with
 * `status: "unavailable"` and what was found. It takes no token (uptime monitors have none), so it
 * tells nothing but that.
 */

import { serviceClient } from "../_shared/client.ts";
import { byMethod } from "../_shared/methods.ts";
import { checkHealth } from "./health.ts";

Deno.serve(byMethod({ GET: () => checkHealth(serviceClient()) }));
