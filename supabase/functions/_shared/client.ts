/** Supabase clients for functions, from the environment that the platform provides. */

import { createClient, type SupabaseClient } from "@supabase/supabase-js";

import type { Database } from "./database.ts";

export type Client = SupabaseClient<Database>;

export type Environment = Pick<typeof Deno.env, "get">;

/**
 * A client with the service role: it bypasses row-level security, so its answers must not be passed
 * on unseen.
 *
 * @throws Error naming the variable that is missing.
 */
export function serviceClient(env: Environment = Deno.env): Client {
  const url = env.get("SUPABASE_URL");
  if (!url) throw new Error("SUPABASE_URL is not set");
  return createClient<Database>(url, secretKey(env), {
    auth: { persistSession: false, autoRefreshToken: false, detectSessionInUrl: false },
  });
}

/** Projects have `sb_secret_…` keys, by name, in SUPABASE_SECRET_KEYS; older ones a service_role JWT. */
function secretKey(env: Environment): string {
  const named = env.get("SUPABASE_SECRET_KEYS");
  const key = (named ? JSON.parse(named)["default"] : undefined) ??
    env.get("SUPABASE_SERVICE_ROLE_KEY");
  if (!key) throw new Error("neither SUPABASE_SECRET_KEYS nor SUPABASE_SERVICE_ROLE_KEY is set");
  return key;
}
