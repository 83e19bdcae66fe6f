-- Let in: a user, reading their own sign-ins; the service role, reading.
-- Denied: other users and anonymous callers; staff; writing, to all: the access token hook and the revoke functions do.
alter table public.user_sessions enable row level security;
revoke all on public.user_sessions from public, anon, authenticated, service_role;
grant select on public.user_sessions to authenticated, service_role;

drop policy if exists "users read their own" on public.user_sessions;
create policy "users read their own" on public.user_sessions
for select to authenticated using ((select auth.uid()) = user_id);
