-- For operators: no user sees or changes it, so there is a policy for the service role only.
alter table public.performance_metrics enable row level security;
revoke all on public.performance_metrics from public, anon, authenticated, service_role;
grant select, insert, update, delete on public.performance_metrics to service_role;

drop policy if exists "the service manages it" on public.performance_metrics;
create policy "the service manages it" on public.performance_metrics
for all to service_role using (true) with check (true);
