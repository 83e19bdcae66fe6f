-- For operators: no user sees or changes it, so there is a policy for the service role only.
alter table public.queue_processors enable row level security;
revoke all on public.queue_processors from public, anon, authenticated, service_role;
grant select, insert, update, delete on public.queue_processors to service_role;

drop policy if exists "the service manages it" on public.queue_processors;
create policy "the service manages it" on public.queue_processors
for all to service_role using (true) with check (true);
