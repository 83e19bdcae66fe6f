-- Let in: a user, reading the trail of their own account; the service role, reading.
-- Denied: other users and anonymous callers; staff, who read through audited functions only; writing, to all, as
-- record_activity() does that.
alter table public.user_activity_logs enable row level security;
revoke all on public.user_activity_logs from public, anon, authenticated, service_role;
grant select on public.user_activity_logs to authenticated, service_role;

drop policy if exists "users read their own" on public.user_activity_logs;
create policy "users read their own" on public.user_activity_logs
for select to authenticated using ((select auth.uid()) = user_id);
