-- Let in: the service role, with all verbs.
-- Denied: every user, staff included; no policy lets anybody in.
alter table public.system_health_checks enable row level security;
revoke all on public.system_health_checks from public, anon, authenticated, service_role;
grant select, insert, update, delete on public.system_health_checks to service_role;
