-- Let in: the service role, with all verbs.
-- Denied: every user, staff included; no policy lets anybody in.
alter table public.apps_script_owners enable row level security;
revoke all on public.apps_script_owners from public, anon, authenticated, service_role;
grant select, insert, update, delete on public.apps_script_owners to service_role;
