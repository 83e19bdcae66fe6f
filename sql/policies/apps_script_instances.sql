-- For operators: no policy, so no user sees or changes it. The service role passes by row security.
alter table public.apps_script_instances enable row level security;
revoke all on public.apps_script_instances from public, anon, authenticated, service_role;
grant select, insert, update, delete on public.apps_script_instances to service_role;
