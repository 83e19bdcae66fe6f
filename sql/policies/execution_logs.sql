-- A user reads their own history; the queue functions write it.
alter table public.execution_logs enable row level security;
revoke all on public.execution_logs from public, anon, authenticated, service_role;
grant select on public.execution_logs to authenticated;
grant select, insert, update, delete on public.execution_logs to service_role;

drop policy if exists "users read their own" on public.execution_logs;
create policy "users read their own" on public.execution_logs
for select to authenticated using ((select auth.uid()) = user_id);
