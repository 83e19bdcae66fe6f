/**
 * Google's OAuth endpoints, as oauth2.googleapis.com serves them: `POST /token` turns a refresh
 * token into an access token, `POST /revoke` ends a grant. Consent, which needs a person, is a
 * control call. Answers and their words are those of Google's documents and of public reports.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Clock } from "./clock.ts";
import { wait } from "./clock.ts";
import { drop, readBody, send } from "./http.ts";
import { html, plain, type Reply } from "./pages.ts";
import { Gauge } from "./stats.ts";

export const FAULTS = [
  "hold",
  "internal_failure",
  "page_502",
  "unavailable_503",
  "rate_limited",
  "invalid_rapt",
  "html_200",
  "rotate",
  "drop",
] as const;

export interface OAuthFault {
  fault: typeof FAULTS[number];
  /** How many refreshes are hit. */
  count: number;
  /** For `hold`: real milliseconds before the answer, which is the right one. */
  ms: number;
  retry_after?: number;
  /** Only refreshes of this token. */
  refresh_token?: string;
}

interface Grant {
  clientId: string;
  scope: string;
  refreshToken: string;
  access: Map<string, number>;
  refreshes: number;
  withdrawn: boolean;
}

const SECONDS = 3599;
const HEADERS = {
  "content-type": "application/json; charset=utf-8",
  "cache-control": "no-cache, no-store, max-age=0, must-revalidate",
  pragma: "no-cache",
  expires: "Mon, 01 Jan 1990 00:00:00 GMT",
};

function json(status: number, fields: Record<string, unknown>, more = {}): Reply {
  return { status, headers: { ...HEADERS, ...more }, body: JSON.stringify(fields, null, 2) };
}

function refusal(status: number, error: string, error_description: string): Reply {
  return json(status, { error, error_description });
}

const secret = (prefix: string) =>
  prefix + btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(48))))
    .replaceAll("+", "-").replaceAll("/", "_");

export class GoogleOAuth {
  #clients = new Map<string, string>();
  #grants = new Map<string, Grant>();
  #faults: OAuthFault[] = [];
  #gauges = new Map<string, Gauge>();

  constructor(readonly clock: Clock) {}

  static serves(path: string): boolean {
    return path === "/token" || path === "/revoke";
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = new URL(request.url ?? "/", "http://oauth").pathname;
    if (request.method !== "POST") {
      return send(response, html(404, "<title>Error 404 (Not Found)!!1</title>"));
    }
    const form = new URLSearchParams(await readBody(request));
    if (path === "/revoke") return send(response, this.#revoke(form.get("token") ?? ""));
    const gauge = this.#gauge(form.get("client_id") ?? "");
    gauge.enter();
    try {
      const reply = await this.#token(form);
      reply === "drop" ? drop(request) : send(response, reply);
    } finally {
      gauge.leave();
    }
  }

  // What a person, or a test in their place, does.

  addClient(clientId: string, clientSecret: string): void {
    this.#clients.set(clientId, clientSecret);
  }

  /** A person consents: the answer that the exchange of the code would bring. */
  consent(clientId: string, scope: string): Record<string, unknown> {
    if (!this.#clients.has(clientId)) throw new TypeError("client_id must name a client");
    const grant: Grant = {
      clientId,
      scope,
      refreshToken: secret("1//0"),
      access: new Map(),
      refreshes: 0,
      withdrawn: false,
    };
    this.#grants.set(grant.refreshToken, grant);
    return { ...this.#issue(grant), refresh_token: grant.refreshToken };
  }

  /** The person removes the app in their account. */
  withdraw(refreshToken: string): void {
    const grant = this.#grants.get(refreshToken);
    if (!grant) throw new TypeError("refresh_token must be one that was granted");
    grant.withdrawn = true;
  }

  inject(fault: OAuthFault): void {
    this.#faults.push(fault);
  }

  heal(): void {
    this.#faults = [];
  }

  reset(): void {
    this.#clients.clear();
    this.#grants.clear();
    this.#faults = [];
    this.#gauges.clear();
  }

  summary(): unknown {
    return {
      in_flight_max: Object.fromEntries([...this.#gauges].map(([id, gauge]) => [id, gauge.max])),
      grants: [...this.#grants.values()].map((grant) => ({
        refresh_token: grant.refreshToken,
        access_tokens: [...grant.access.keys()],
        refreshes: grant.refreshes,
        withdrawn: grant.withdrawn,
      })),
    };
  }

  #gauge(clientId: string): Gauge {
    let gauge = this.#gauges.get(clientId);
    if (!gauge) this.#gauges.set(clientId, gauge = new Gauge());
    return gauge;
  }

  async #token(form: URLSearchParams): Promise<Reply | "drop"> {
    const type = form.get("grant_type") ?? "";
    if (type !== "refresh_token") {
      return refusal(400, "unsupported_grant_type", `Invalid grant_type: ${type}`);
    }
    const clientId = form.get("client_id") ?? "";
    if (!clientId) {
      return refusal(400, "invalid_request", "Could not determine client ID from request.");
    }
    const known = this.#clients.get(clientId);
    if (known === undefined) {
      return refusal(401, "invalid_client", "The OAuth client was not found.");
    }
    if (form.get("client_secret") !== known) {
      return refusal(401, "invalid_client", "The provided client secret is invalid.");
    }
    const token = form.get("refresh_token") ?? "";
    if (!token) {
      return refusal(400, "invalid_request", "Missing required parameter: refresh_token");
    }
    const faulty = await this.#fault(token);
    if (faulty) return faulty;
    const grant = this.#grants.get(token);
    if (!grant) return refusal(400, "invalid_grant", "Bad Request");
    if (grant.clientId !== clientId) return refusal(401, "unauthorized_client", "Unauthorized");
    if (grant.withdrawn) {
      return refusal(400, "invalid_grant", "Token has been expired or revoked.");
    }
    grant.refreshes++;
    return json(200, this.#issue(grant));
  }

  #issue(grant: Grant): Record<string, unknown> {
    const token = secret("ya29.a0");
    grant.access.set(token, this.clock.ledgerNow() + SECONDS * 1000);
    return {
      access_token: token,
      expires_in: SECONDS,
      scope: grant.scope,
      token_type: "Bearer",
    };
  }

  /** Google's documents allow a new refresh token with an access token; the old one is over then. */
  #rotate(token: string): Reply | null {
    const grant = this.#grants.get(token);
    if (!grant) return null;
    this.#grants.delete(token);
    grant.refreshToken = secret("1//0");
    this.#grants.set(grant.refreshToken, grant);
    grant.refreshes++;
    return json(200, { ...this.#issue(grant), refresh_token: grant.refreshToken });
  }

  /** An access token ends its grant too, as long as it is good itself. */
  #revoke(token: string): Reply {
    if (!token) return refusal(400, "invalid_request", "Missing required parameter: token");
    for (const grant of this.#grants.values()) {
      const good = (grant.access.get(token) ?? 0) > this.clock.ledgerNow();
      if ((grant.refreshToken === token || good) && !grant.withdrawn) {
        grant.withdrawn = true;
        return json(200, {});
      }
    }
    return refusal(400, "invalid_token", "Token expired or revoked");
  }

  async #fault(token: string): Promise<Reply | "drop" | null> {
    const hit = this.#faults.find((one) =>
      one.count > 0 && (one.refresh_token === undefined || one.refresh_token === token)
    );
    if (!hit) return null;
    hit.count--;
    const later: Record<string, string> = hit.retry_after === undefined
      ? {}
      : { "retry-after": String(hit.retry_after) };
    switch (hit.fault) {
      case "hold":
        await wait(hit.ms);
        return null;
      case "drop":
        return "drop";
      case "internal_failure":
        return json(500, { error: "internal_failure", error_description: "Backend Error" });
      case "page_502":
        return html(502, "<!DOCTYPE html><title>Error 502 (Server Error)!!1</title>");
      case "unavailable_503":
        return plain(503, "Service Unavailable", later);
      case "rate_limited":
        return json(429, { error: "rate_limit_exceeded" }, later);
      case "rotate":
        return this.#rotate(token);
      case "html_200":
        return html(200, "<!DOCTYPE html><title>Google</title>");
      case "invalid_rapt":
        return json(400, {
          error: "invalid_grant",
          error_description: "reauth related error (invalid_rapt)",
          error_subtype: "invalid_rapt",
        });
    }
  }
}

/** Checks a fault that came over HTTP. Errors name the field. */
export function parseFault(body: Record<string, unknown>): OAuthFault {
  const { fault, count = 1, ms = 0, retry_after, refresh_token } = body;
  if (!FAULTS.includes(fault as "hold")) {
    throw new TypeError(`fault must be one of ${FAULTS.join(", ")}`);
  }
  for (const [name, value] of Object.entries({ count, ms, retry_after: retry_after ?? 0 })) {
    if (typeof value !== "number" || !(value >= 0)) {
      throw new TypeError(`${name} must be a number of 0 or more`);
    }
  }
  return { fault, count, ms, retry_after, refresh_token } as OAuthFault;
}
