-- Let in: everyone who is signed in, and the service role, reading: a dashboard shows what it can offer.
-- Denied: anonymous callers; writing, to all: it changes by migration.
alter table public.role_permissions enable row level security;
revoke all on public.role_permissions from public, anon, authenticated, service_role;
grant select on public.role_permissions to authenticated, service_role;

drop policy if exists "everyone signed in reads them" on public.role_permissions;
create policy "everyone signed in reads them" on public.role_permissions
for select to authenticated using (true);
