-- Let in: the service role, with all verbs.
-- Denied: every user, staff included; no policy lets anybody in.
alter table public.queue_processors enable row level security;
revoke all on public.queue_processors from public, anon, authenticated, service_role;
grant select, insert, update, delete on public.queue_processors to service_role;
