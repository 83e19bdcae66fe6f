-- For operators: no user sees or changes it, so there is a policy for the service role only.
alter table public.system_health_checks enable row level security;
revoke all on public.system_health_checks from public, anon, authenticated, service_role;
grant select, insert, update, delete on public.system_health_checks to service_role;

drop policy if exists "the service manages it" on public.system_health_checks;
create policy "the service manages it" on public.system_health_checks
for all to service_role using (true) with check (true);
