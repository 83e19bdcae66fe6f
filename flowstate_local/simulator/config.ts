/** The simulator's configuration file: its shape, its defaults, and errors that name the field. */

export type AccountType = "consumer" | "workspace";

export interface OwnerConfig {
  owner: string;
  account_type: AccountType;
  /** Language of Google's pages and exceptions for this account, such as "en" or "de". */
  locale: string;
}

export interface InstanceConfig {
  deployment_id: string;
  name: string;
  owner: string;
  /** HMAC secrets by key id. */
  keys: Record<string, string>;
  locale?: string;
}

export interface Config {
  exec_port: number;
  echo_port: number;
  code_path: string;
  seed: number;
  /** Real seconds for one simulated second of latency; 0 waits for nothing. */
  time_scale: number;
  owners: OwnerConfig[];
  instances: InstanceConfig[];
}

type Fields = Record<string, unknown>;

function fail(field: string, why: string): never {
  throw new TypeError(`${field} ${why}`);
}

function fieldsOf(value: unknown, field: string): Fields {
  if (value === null || typeof value !== "object" || Array.isArray(value)) {
    fail(field, "must be an object");
  }
  return value as Fields;
}

function text(fields: Fields, name: string, at: string, fallback?: string): string {
  const value = fields[name] ?? fallback;
  if (typeof value !== "string" || value === "") fail(`${at}${name}`, "must be a non-empty string");
  return value;
}

function count(fields: Fields, name: string, fallback: number): number {
  const value = fields[name] ?? fallback;
  if (typeof value !== "number" || !Number.isFinite(value) || value < 0) {
    fail(name, "must be a number of 0 or more");
  }
  return value;
}

export function parseOwner(value: unknown, at = "owner."): OwnerConfig {
  const fields = fieldsOf(value, at);
  const type = fields.account_type ?? "consumer";
  if (type !== "consumer" && type !== "workspace") {
    fail(`${at}account_type`, "must be consumer or workspace");
  }
  return {
    owner: text(fields, "owner", at),
    account_type: type,
    locale: text(fields, "locale", at, "en"),
  };
}

export function parseInstance(value: unknown, at = "instance."): InstanceConfig {
  const fields = fieldsOf(value, at);
  const keys = fieldsOf(fields.keys, `${at}keys`);
  for (const [kid, secret] of Object.entries(keys)) {
    if (typeof secret !== "string" || secret === "") {
      fail(`${at}keys.${kid}`, "must be a non-empty string");
    }
  }
  return {
    deployment_id: text(fields, "deployment_id", at),
    name: text(fields, "name", at),
    owner: text(fields, "owner", at),
    keys: keys as Record<string, string>,
    ...(fields.locale === undefined ? {} : { locale: text(fields, "locale", at) }),
  };
}

export function parseConfig(value: unknown): Config {
  const fields = fieldsOf(value, "the configuration");
  const list = (name: string) => {
    const items = fields[name] ?? [];
    return Array.isArray(items) ? items : fail(name, "must be a list");
  };
  return {
    exec_port: count(fields, "exec_port", 0),
    echo_port: count(fields, "echo_port", 0),
    code_path: text(fields, "code_path", ""),
    seed: count(fields, "seed", 1),
    time_scale: count(fields, "time_scale", 0),
    owners: list("owners").map((item, i) => parseOwner(item, `owners[${i}].`)),
    instances: list("instances").map((item, i) => parseInstance(item, `instances[${i}].`)),
  };
}
