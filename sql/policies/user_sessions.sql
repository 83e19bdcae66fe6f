-- A user reads their own sign-ins. The access token hook writes them, the revoke functions end them.
alter table public.user_sessions enable row level security;
revoke all on public.user_sessions from public, anon, authenticated, service_role;
grant select on public.user_sessions to authenticated, service_role;

drop policy if exists "users read their own" on public.user_sessions;
create policy "users read their own" on public.user_sessions
for select to authenticated using ((select auth.uid()) = user_id);
