/** What functions answer when they refuse or fail: `{code, message}` with a fitting status. */

import { json } from "./json.ts";

/** A refusal that the caller may read. The message says what is wrong and what to do. */
export class HttpError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly headers: Record<string, string> = {},
  ) {
    super(message);
    this.name = "HttpError";
  }
}

/** The answer for anything thrown. What was not meant for callers is logged by its name only. */
export function errorResponse(error: unknown): Response {
  if (error instanceof HttpError) {
    const { status, code, message, headers } = error;
    return json({ code, message }, { status, headers });
  }
  // Messages may quote rows, keys or mail; a stack's frames do not.
  const { name, stack } = error instanceof Error ? error : new Error(typeof error);
  const frames = (stack ?? "").split("\n").filter((line) => line.trimStart().startsWith("at "));
  console.error([name, ...frames].join("\n"));
  return json({ code: "internal_error", message: "Internal Server Error" }, { status: 500 });
}
