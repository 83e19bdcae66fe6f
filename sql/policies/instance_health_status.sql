-- For operators: no policy, so no user sees or changes it. The service role passes by row security.
alter table public.instance_health_status enable row level security;
revoke all on public.instance_health_status from public, anon, authenticated, service_role;
grant select, insert, update, delete on public.instance_health_status to service_role;
