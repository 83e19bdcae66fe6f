-- For operators: no user sees or changes it, so there is a policy for the service role only.
alter table public.apps_script_instances enable row level security;
revoke all on public.apps_script_instances from public, anon, authenticated, service_role;
grant select, insert, update, delete on public.apps_script_instances to service_role;

drop policy if exists "the service manages it" on public.apps_script_instances;
create policy "the service manages it" on public.apps_script_instances
for all to service_role using (true) with check (true);
