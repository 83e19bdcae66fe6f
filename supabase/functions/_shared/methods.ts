/** One handler per HTTP method; preflights, other methods and errors are answered here. */

import { preflight } from "./cors.ts";
import { errorResponse, HttpError } from "./errors.ts";

export type Handler = (request: Request) => Response | Promise<Response>;

export function byMethod(handlers: Record<string, Handler>): Handler {
  const methods = Object.keys(handlers);
  return async (request) => {
    if (request.method === "OPTIONS") return preflight(methods);
    try {
      const handler = handlers[request.method];
      if (handler === undefined) {
        const allowed = methods.join(", ");
        throw new HttpError(405, "method_not_allowed", `Use ${allowed}`, { Allow: allowed });
      }
      return await handler(request);
    } catch (error) {
      return errorResponse(error);
    }
  };
}
