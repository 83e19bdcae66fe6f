-- Let in: the service role, with all verbs.
-- Denied: every user, staff included; no policy lets anybody in.
alter table public.performance_metrics enable row level security;
revoke all on public.performance_metrics from public, anon, authenticated, service_role;
grant select, insert, update, delete on public.performance_metrics to service_role;
