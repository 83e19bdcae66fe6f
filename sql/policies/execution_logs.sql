-- Let in: a user, reading their own history. The queue functions write it; the service role may do all.
-- Denied: other users and anonymous callers; staff, who read through audited functions only.
alter table public.execution_logs enable row level security;
revoke all on public.execution_logs from public, anon, authenticated, service_role;
grant select on public.execution_logs to authenticated;
grant select, insert, update, delete on public.execution_logs to service_role;

drop policy if exists "users read their own" on public.execution_logs;
create policy "users read their own" on public.execution_logs
for select to authenticated using ((select auth.uid()) = user_id);
