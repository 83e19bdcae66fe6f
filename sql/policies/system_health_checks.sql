-- For operators: no policy, so no user sees or changes it. The service role passes by row security.
alter table public.system_health_checks enable row level security;
revoke all on public.system_health_checks from public, anon, authenticated, service_role;
grant select, insert, update, delete on public.system_health_checks to service_role;
