/** Cross-origin headers: functions are called from browsers of any origin; keys and tokens guard them. */

export const CORS_HEADERS = {
  "Access-Control-Allow-Origin": "*",
  "Access-Control-Allow-Headers": "authorization, x-client-info, apikey, content-type",
} as const;

/** The answer to a browser's preflight for a route that takes these methods. */
export function preflight(methods: readonly string[]): Response {
  return new Response(null, {
    status: 204,
    headers: {
      ...CORS_HEADERS,
      "Access-Control-Allow-Methods": methods.join(", "),
      "Access-Control-Max-Age": "3600",
    },
  });
}
