-- Let in: the service role, with all verbs.
-- Denied: every user, staff included; no policy lets anybody in.
alter table public.instance_health_status enable row level security;
revoke all on public.instance_health_status from public, anon, authenticated, service_role;
grant select, insert, update, delete on public.instance_health_status to service_role;
