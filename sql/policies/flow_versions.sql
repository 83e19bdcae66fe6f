-- Let in: a user, reading the versions of their own flows; the trigger on flows writes them.
-- Denied: other users and anonymous callers; staff; users who write.
alter table public.flow_versions enable row level security;
revoke all on public.flow_versions from public, anon, authenticated, service_role;
grant select on public.flow_versions to authenticated;
grant select, insert, update, delete on public.flow_versions to service_role;

drop policy if exists "users read their own" on public.flow_versions;
create policy "users read their own" on public.flow_versions
for select to authenticated using ((select auth.uid()) = user_id);
