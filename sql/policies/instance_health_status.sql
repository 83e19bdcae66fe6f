-- For operators: no user sees or changes it, so there is a policy for the service role only.
alter table public.instance_health_status enable row level security;
revoke all on public.instance_health_status from public, anon, authenticated, service_role;
grant select, insert, update, delete on public.instance_health_status to service_role;

drop policy if exists "the service manages it" on public.instance_health_status;
create policy "the service manages it" on public.instance_health_status
for all to service_role using (true) with check (true);
