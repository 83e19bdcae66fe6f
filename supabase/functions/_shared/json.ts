/** JSON answers, readable from any browser and never cached: all of them describe this moment. */

import { CORS_HEADERS } from "./cors.ts";

export function json(
  body: unknown,
  init: { status?: number; headers?: Record<string, string> } = {},
): Response {
  return Response.json(body, {
    status: init.status ?? 200,
    headers: { ...CORS_HEADERS, "Cache-Control": "no-store", ...init.headers },
  });
}
