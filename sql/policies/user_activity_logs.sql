-- A user reads their own trail; nobody but the service role writes it.
alter table public.user_activity_logs enable row level security;
revoke all on public.user_activity_logs from public, anon, authenticated, service_role;
grant select on public.user_activity_logs to authenticated;
grant select, insert, update, delete on public.user_activity_logs to service_role;

drop policy if exists "users read their own" on public.user_activity_logs;
create policy "users read their own" on public.user_activity_logs
for select to authenticated using ((select auth.uid()) = user_id);
