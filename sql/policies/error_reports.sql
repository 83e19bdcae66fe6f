-- Let in: a user, reading reports about their own executions; the service role, with all verbs.
-- Denied: other users and anonymous callers; staff; reports about nobody are for the service role.
alter table public.error_reports enable row level security;
revoke all on public.error_reports from public, anon, authenticated, service_role;
grant select on public.error_reports to authenticated;
grant select, insert, update, delete on public.error_reports to service_role;

drop policy if exists "users read their own" on public.error_reports;
create policy "users read their own" on public.error_reports
for select to authenticated using ((select auth.uid()) = user_id);
