-- For operators: no policy, so no user sees or changes it. The service role passes by row security.
alter table public.queue_processors enable row level security;
revoke all on public.queue_processors from public, anon, authenticated, service_role;
grant select, insert, update, delete on public.queue_processors to service_role;
