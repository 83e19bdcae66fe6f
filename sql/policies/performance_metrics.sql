-- For operators: no policy, so no user sees or changes it. The service role passes by row security.
alter table public.performance_metrics enable row level security;
revoke all on public.performance_metrics from public, anon, authenticated, service_role;
grant select, insert, update, delete on public.performance_metrics to service_role;
