/** Rules that inject faults: which calls they hit, how often, and when. */
import { type Fault, type FaultOptions, FAULTS, type Plan } from "./faults.ts";
import type { Random } from "./clock.ts";

export type { Fault, Plan };

export interface InjectionSpec extends FaultOptions {
  instance: string | null;
  owner: string | null;
  category: string;
  /** Share of the calls that are hit, 0 to 1. */
  probability?: number;
  /** How many calls are hit in all. */
  count?: number;
  /** When: calls by their number among those the rule looks at (from 1), or a span of time. */
  schedule?: { calls?: number[]; after_seconds?: number; for_seconds?: number };
  /** Which calls: run, result, ping, get. */
  ops?: string[];
  /** Only calls about this execution. */
  execution_id?: string;
  /** For `slow`: the first hop takes this many times as long. */
  factor?: number;
}

interface Rule {
  id: number;
  spec: InjectionSpec;
  seen: number;
  hits: number;
  sinceMs: number;
}

export interface Picked {
  plan: Plan;
  category: string | null;
  factor: number;
  extraMs: number;
  extraAt: "claim" | "effect";
}

export interface Call {
  instance: string;
  owner: string;
  op: string;
  executionId: string | null;
  locale: string;
  path: string;
}

const OPS = ["run", "result", "ping", "get", "unknown"];
const NUMBERS = [
  "probability",
  "count",
  "status",
  "retry_after",
  "ms",
  "reads",
  "factor",
  "nth",
] as const;
const KNOWN = new Set([
  "instance",
  "owner",
  "category",
  "variant",
  "execution_id",
  "schedule",
  "ops",
  ...NUMBERS,
]);

/** Checks a rule that came over HTTP. Errors name the field. */
export function parseInjection(value: unknown): InjectionSpec {
  if (value === null || typeof value !== "object") {
    throw new TypeError("the rule must be an object");
  }
  const spec = { instance: null, owner: null, ...value } as InjectionSpec & Record<string, unknown>;
  for (const name of Object.keys(spec)) {
    if (!KNOWN.has(name)) throw new TypeError(`${name} is no field of an injection`);
  }
  const row = Object.hasOwn(FAULTS, spec.category ?? "") ? FAULTS[spec.category] : undefined;
  if (!row) throw new TypeError(`category must be one of ${Object.keys(FAULTS).join(", ")}`);
  if (spec.variant !== undefined && !row.variants.includes(spec.variant)) {
    throw new TypeError(`variant must be one of ${row.variants.join(", ")}`);
  }
  for (const name of NUMBERS) {
    const number = spec[name];
    if (number !== undefined && (typeof number !== "number" || !(number >= 0))) {
      throw new TypeError(`${name} must be a number of 0 or more`);
    }
  }
  if (spec.ops !== undefined && !spec.ops.every((op) => OPS.includes(op))) {
    throw new TypeError(`ops must be a list of ${OPS.join(", ")}`);
  }
  return spec;
}

export class Injections {
  #rules: Rule[] = [];
  #nextId = 1;

  constructor(readonly random: Random) {}

  add(spec: InjectionSpec): number {
    const rule = { id: this.#nextId++, spec, seen: 0, hits: 0, sinceMs: Date.now() };
    this.#rules.push(rule);
    return rule.id;
  }

  clear(id?: number): void {
    this.#rules = id === undefined ? [] : this.#rules.filter((rule) => rule.id !== id);
  }

  list(): { id: number; hits: number; spec: InjectionSpec }[] {
    return this.#rules.map(({ id, hits, spec }) => ({ id, hits, spec }));
  }

  /** The first rule that hits decides the fault; every `slow` rule that hits adds its slowness. */
  pick(call: Call): Picked {
    const picked: Picked = {
      plan: {},
      category: null,
      factor: 1,
      extraMs: 0,
      extraAt: "claim",
    };
    for (const rule of this.#rules) {
      const { spec } = rule;
      const slow = spec.category === "slow";
      if ((!slow && picked.category) || !this.#hits(rule, call)) continue;
      rule.hits++;
      const variant = spec.variant ?? FAULTS[spec.category].variants[0];
      if (slow) {
        picked.factor *= spec.factor ?? 1;
        picked.extraMs += spec.ms ?? 0;
        picked.extraAt = variant as "claim" | "effect";
      } else {
        picked.category = spec.category;
        picked.plan = FAULTS[spec.category].make({ ...spec, variant }, call);
      }
    }
    return picked;
  }

  #hits(rule: Rule, call: Call): boolean {
    const { spec } = rule;
    if (spec.instance !== null && spec.instance !== call.instance) return false;
    if (spec.owner !== null && spec.owner !== call.owner) return false;
    const ops = spec.ops ?? (this.#onlyRuns(spec) ? ["run"] : OPS);
    if (!ops.includes(call.op)) return false;
    if (spec.execution_id !== undefined && spec.execution_id !== call.executionId) return false;
    rule.seen++;
    if (spec.count !== undefined && rule.hits >= spec.count) return false;
    const { calls, after_seconds = 0, for_seconds = Infinity } = spec.schedule ?? {};
    if (calls && !calls.includes(rule.seen)) return false;
    const age = (Date.now() - rule.sinceMs) / 1000;
    if (age < after_seconds || age >= after_seconds + for_seconds) return false;
    return spec.probability === undefined || this.random.next() < spec.probability;
  }

  #onlyRuns(spec: InjectionSpec): boolean {
    return FAULTS[spec.category].onlyRuns === true || spec.variant === "exception";
  }
}
