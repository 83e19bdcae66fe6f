-- For operators: no user sees or changes it, so there is a policy for the service role only.
alter table public.load_balancer_config enable row level security;
revoke all on public.load_balancer_config from public, anon, authenticated, service_role;
grant select, insert, update, delete on public.load_balancer_config to service_role;

drop policy if exists "the service manages it" on public.load_balancer_config;
create policy "the service manages it" on public.load_balancer_config
for all to service_role using (true) with check (true);
