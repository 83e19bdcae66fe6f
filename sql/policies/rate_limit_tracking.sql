-- Let in: a user, reading their own acceptances; the service role, which may also remove some.
-- Denied: other users and anonymous callers; staff; adding any, to all: what admission has counted would not know
-- of them.
alter table public.rate_limit_tracking enable row level security;
revoke all on public.rate_limit_tracking from public, anon, authenticated, service_role;
grant select on public.rate_limit_tracking to authenticated;
grant select, update, delete on public.rate_limit_tracking to service_role;

drop policy if exists "users read their own" on public.rate_limit_tracking;
create policy "users read their own" on public.rate_limit_tracking
for select to authenticated using ((select auth.uid()) = user_id);
