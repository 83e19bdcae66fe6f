-- A user reads their own profile. Tier and role change through the service role only.
alter table public.user_profiles enable row level security;
revoke all on public.user_profiles from public, anon, authenticated, service_role;
grant select on public.user_profiles to authenticated;
grant select, insert, update, delete on public.user_profiles to service_role;

drop policy if exists "users read their own" on public.user_profiles;
create policy "users read their own" on public.user_profiles
for select to authenticated using ((select auth.uid()) = user_id);
