-- Let in: a user, reading their own live executions. Every change goes through the queue functions.
-- Denied: other users and anonymous callers; staff, who read through audited functions only.
alter table public.flow_execution_queue enable row level security;
revoke all on public.flow_execution_queue from public, anon, authenticated, service_role;
grant select on public.flow_execution_queue to authenticated;
grant select, insert, update, delete on public.flow_execution_queue to service_role;

drop policy if exists "users read their own" on public.flow_execution_queue;
create policy "users read their own" on public.flow_execution_queue
for select to authenticated using ((select auth.uid()) = user_id);
