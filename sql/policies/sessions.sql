-- Let in: a user, reading their own; the service role, reading. The functions of sessions write, so that limits are exact.
-- Denied: other users and anonymous callers; staff. Nobody writes directly, not even the service role.
alter table public.sessions enable row level security;
revoke all on public.sessions from public, anon, authenticated, service_role;
grant select on public.sessions to authenticated, service_role;

drop policy if exists "users read their own" on public.sessions;
create policy "users read their own" on public.sessions
for select to authenticated using ((select auth.uid()) = user_id);
