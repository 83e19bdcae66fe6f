-- For operators: no policy, so no user sees or changes it. The service role passes by row security.
alter table public.load_balancer_config enable row level security;
revoke all on public.load_balancer_config from public, anon, authenticated, service_role;
grant select, insert, update, delete on public.load_balancer_config to service_role;
