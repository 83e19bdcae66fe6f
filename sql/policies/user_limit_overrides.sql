-- Let in: a user, reading the exception that holds for them; the service role, with all verbs.
-- Denied: other users and anonymous callers; users who write. Staff makes exceptions through set_user_override().
alter table public.user_limit_overrides enable row level security;
revoke all on public.user_limit_overrides from public, anon, authenticated, service_role;
grant select on public.user_limit_overrides to authenticated;
grant select, insert, update, delete on public.user_limit_overrides to service_role;

drop policy if exists "users read their own" on public.user_limit_overrides;
create policy "users read their own" on public.user_limit_overrides
for select to authenticated using ((select auth.uid()) = user_id);
