-- Let in: the service role, with all verbs.
-- Denied: every user, staff included; no policy lets anybody in.
alter table public.load_balancer_config enable row level security;
revoke all on public.load_balancer_config from public, anon, authenticated, service_role;
grant select, insert, update, delete on public.load_balancer_config to service_role;
