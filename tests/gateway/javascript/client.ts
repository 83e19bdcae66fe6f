/**
 * supabase-js, driven from Python: one command a line comes in on stdin, one answer a line goes out.
 *
 * A command is `{do, …}`; its answer is `{ok: …}`, or `{error: {name, message, status, code}}`.
 * What channels receive, and how their state changes, is kept until a command asks for it.
 */

import { createClient, type RealtimeChannel } from "@supabase/supabase-js";

interface Command {
  do: string;
  name: string;
  email: string;
  password: string;
  refresh_token: string;
  event: string;
  payload: unknown;
  body: string;
  values: Record<string, unknown>;
  private: boolean;
  self: boolean;
  ack: boolean;
  binary: boolean;
}

const client = createClient(Deno.env.get("SUPABASE_URL")!, Deno.env.get("SUPABASE_KEY")!, {
  auth: { persistSession: false, autoRefreshToken: false },
  realtime: { vsn: Deno.env.get("VSN") ?? "2.0.0" },
});

/** Values in the order in which they came; `next` waits for one. */
class Inbox<T> {
  #values: T[] = [];
  #waiting: ((value: T) => void)[] = [];

  put(value: T): void {
    const waiting = this.#waiting.shift();
    if (waiting) waiting(value);
    else this.#values.push(value);
  }

  next(): Promise<T> {
    const value = this.#values.shift();
    if (value !== undefined) return Promise.resolve(value);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}

const channels = new Map<string, RealtimeChannel>();
const received = new Inbox<unknown>();
const states = new Inbox<{ status: string; error?: string }>();

function join(command: Command): Promise<unknown> {
  const broadcast = { self: command.self ?? false, ack: command.ack ?? false };
  const channel = client.channel(command.name, {
    config: { private: command.private ?? false, broadcast },
  });
  channels.set(command.name, channel);
  channel.on("broadcast", { event: "*" }, ({ event, payload }) => {
    const bytes = payload instanceof ArrayBuffer ? [...new Uint8Array(payload)] : undefined;
    received.put({ event, payload: bytes ?? payload });
  });
  channel.subscribe((status, error) => states.put({ status, error: error?.message }));
  return states.next();
}

const commands: Record<string, (command: Command) => Promise<unknown>> = {
  async sign_up({ email, password }) {
    const { data, error } = await client.auth.signUp({ email, password });
    if (error) throw error;
    return { id: data.user?.id, refresh_token: data.session?.refresh_token };
  },
  async sign_in({ email, password }) {
    const { data, error } = await client.auth.signInWithPassword({ email, password });
    if (error) throw error;
    return { id: data.user.id };
  },
  async refresh({ refresh_token }) {
    const { data, error } = await client.auth.refreshSession({ refresh_token });
    if (error) throw error;
    return { refresh_token: data.session?.refresh_token };
  },
  async user() {
    const { data, error } = await client.auth.getUser();
    if (error) throw error;
    return { id: data.user.id, email: data.user.email };
  },
  async list_users() {
    const { data, error } = await client.auth.admin.listUsers({ page: 1, perPage: 1 });
    if (error) throw error;
    return { count: data.users.length, total: data.total, next: data.nextPage };
  },
  async write_note({ body }) {
    const { error } = await client.from("notes").insert({ body });
    if (error) throw error;
  },
  async read_notes() {
    const { data, error, count } = await client.from("notes").select("body", { count: "exact" });
    if (error) throw error;
    return { bodies: data.map((row) => row.body), count };
  },
  async insert({ name, values }) {
    const { data, error } = await client.from(name).insert(values).select().single();
    if (error) throw error;
    return data;
  },
  async select({ name }) {
    const { data, error } = await client.from(name).select();
    if (error) throw error;
    return data;
  },
  async rpc({ name, values }) {
    const { data, error } = await client.rpc(name, values);
    if (error) throw error;
    return data;
  },
  async invoke({ name }) {
    const { data, error } = await client.functions.invoke(name, { method: "GET" });
    if (error) throw error;
    return data;
  },
  join,
  state: () => states.next(),
  received: () => received.next(),
  send({ name, event, payload, binary }) {
    const body = binary ? new Uint8Array(payload as number[]).buffer : payload;
    return channels.get(name)!.send({ type: "broadcast", event, payload: body });
  },
  http_send: ({ name, event, payload }) => channels.get(name)!.httpSend(event, payload),
  leave: ({ name }) => client.removeChannel(channels.get(name)!),
};

async function answer(line: string): Promise<string> {
  const command: Command = JSON.parse(line);
  try {
    return JSON.stringify({ ok: await commands[command.do]!(command) ?? null });
  } catch (thrown) {
    const { name, message, status, code } = thrown as Record<string, unknown>;
    return JSON.stringify({ error: { name, message, status, code } });
  }
}

if (import.meta.main) {
  const lines = Deno.stdin.readable.pipeThrough(new TextDecoderStream());
  let rest = "";
  for await (const chunk of lines) {
    const parts = (rest + chunk).split("\n");
    rest = parts.pop()!;
    for (const line of parts) console.log(await answer(line));
  }
  Deno.exit(0);
}
