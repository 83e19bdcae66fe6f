/**
 * What each injectable fault does to a call: before the script, inside it, to its answer, or at the
 * second hop. One row for each row of the classification table, and the special ones.
 */
import { loginRedirect, page, plain, redirect, type Reply } from "./pages.ts";

/** Inside the script: an exception of its first service call, or its death. */
export interface Fault {
  exception?: string;
  lock?: boolean;
  kill?: "before_marker" | "mid_effect";
  /** Which service call, property write or effect it falls on, counted from 1. */
  nth?: number;
}

export interface EchoFault {
  mode: "404" | "bounce" | "timeout" | "slow" | "html";
  /** How many reads it spoils. */
  reads: number;
  ms: number;
}

export type Outcome = Reply | "drop";

export interface Plan {
  /** The answer instead of running the script. */
  before?: Outcome;
  fault?: Fault;
  /** The answer instead of what the script said, though it ran. */
  after?: Outcome;
  /** Real milliseconds to hold the connection before `before` or `after` is given. */
  holdMs?: number;
  echo?: EchoFault;
  wrongExecutionId?: boolean;
}

export interface FaultOptions {
  variant?: string;
  status?: number;
  retry_after?: number;
  ms?: number;
  reads?: number;
  nth?: number;
}

interface Place {
  locale: string;
  path: string;
}

type Make = (options: FaultOptions, place: Place) => Plan;

interface Row {
  /** Names of variants; the first is the default. */
  variants: string[];
  /** True if only runs of flows are hit when nothing else is asked for. */
  onlyRuns?: boolean;
  make: Make;
}

const never = 86_400_000;

function echo(mode: EchoFault["mode"]): Make {
  return (o) => ({ echo: { mode, reads: o.reads ?? Infinity, ms: o.ms ?? 60_000 } });
}

function inScript(fault: Fault, after?: (place: Place) => Outcome): Row {
  return {
    variants: ["exception"],
    onlyRuns: true,
    make: (o, place) => ({
      fault: { ...fault, nth: o.nth },
      ...(after ? { after: after(place) } : {}),
    }),
  };
}

function exceptionOrPage(kind: string, show: (place: Place) => Reply, pageFirst: boolean): Row {
  return {
    variants: pageFirst ? ["page", "exception"] : ["exception", "page"],
    onlyRuns: !pageFirst,
    make: (o, place) =>
      o.variant === "exception"
        ? { fault: { exception: kind, nth: o.nth } }
        : { before: show(place) },
  };
}

function notRun(make: (o: FaultOptions, place: Place) => Outcome): Row {
  return { variants: ["not_run"], make: (o, place) => ({ before: make(o, place) }) };
}

const crash =
  'TypeError: Cannot read properties of undefined (reading "length") (line 12, file "Code")';

export const FAULTS: Record<string, Row> = {
  echo_lost: {
    variants: ["404", "bounce", "timeout"],
    make: (o, place) => echo(o.variant as "404")(o, place),
  },
  odd_redirect: {
    variants: ["ran", "not_run"],
    make: (o) => {
      const odd = redirect("https://script.google.com/macros/u/0/s/elsewhere/exec");
      return o.variant === "ran" ? { after: odd } : { before: odd };
    },
  },
  login: {
    variants: ["redirect", "page"],
    make: (o, { path, locale }) => ({
      before: o.variant === "redirect" ? loginRedirect(path) : page("meet_drive", locale),
    }),
  },
  http_auth: {
    variants: ["401", "403"],
    make: (o, { locale }) => ({
      before: o.variant === "401" ? plain(401, "Unauthorized") : page("access_denied", locale),
    }),
  },
  needs_auth: exceptionOrPage("needs_auth", ({ locale }) => page("needs_auth", locale), true),
  deployment_missing: notRun((_, { locale }) => page("not_found", locale)),
  function_missing: notRun((_, { locale }) => page("function_missing", locale, "doPost")),
  no_return: { variants: ["ran"], make: (_, { locale }) => ({ after: page("no_return", locale) }) },
  concurrency: exceptionOrPage("concurrency", ({ locale }) => page("concurrency", locale), true),
  rate_service: inScript({ exception: "rate_service" }),
  daily_quota: inScript({ exception: "daily_quota" }),
  execution_timeout: {
    variants: ["before_marker", "mid_effect"],
    onlyRuns: true,
    make: (o, { locale }) => ({
      fault: { kill: o.variant as "mid_effect", nth: o.nth },
      after: page("timeout", locale),
    }),
  },
  lock: inScript({ lock: true }),
  transient: exceptionOrPage("transient", ({ locale }) => page("transient", locale), false),
  script_error: {
    variants: ["not_run", "ran"],
    make: (o, { locale }) => {
      const shown = page("script_error", locale, crash);
      return o.variant === "ran" ? { after: shown } : { before: shown };
    },
  },
  flow_error: inScript({ exception: "flow_error" }),
  http_429: notRun((o) =>
    plain(429, "Too Many Requests", o.retry_after ? { "retry-after": String(o.retry_after) } : {})
  ),
  http_5xx: {
    variants: ["not_run", "ran"],
    make: (o) => {
      const shown = plain(o.status ?? 503, "The server encountered an error");
      return o.variant === "ran" ? { after: shown } : { before: shown };
    },
  },
  network: {
    variants: ["not_run", "ran", "timeout"],
    make: (o) => {
      if (o.variant === "not_run") return { before: "drop" };
      return { after: "drop", holdMs: o.variant === "timeout" ? o.ms ?? never : 0 };
    },
  },
  client_bug: notRun((o) => plain(o.status ?? 400, "Bad Request")),

  dead: notRun(() => "drop"),
  first_hop_lost: { variants: ["ran"], make: () => ({ after: "drop" }) },
  killed_before_marker: inScript({ kill: "before_marker" }, () => "drop"),
  killed_mid_effect: inScript({ kill: "mid_effect" }, () => "drop"),
  echo_slow: { variants: ["slow"], make: echo("slow") },
  html_instead_of_json: { variants: ["html"], make: echo("html") },
  wrong_execution_id: { variants: ["ran"], make: () => ({ wrongExecutionId: true }) },
  /** Handled where rules are picked: it goes together with another fault. */
  slow: { variants: ["claim", "effect"], make: () => ({}) },
};
