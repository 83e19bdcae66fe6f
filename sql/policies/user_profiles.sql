-- Let in: a user, reading their own profile; the service role, with all verbs.
-- Denied: other users and anonymous callers; users who write. Staff changes tier and role through functions.
alter table public.user_profiles enable row level security;
revoke all on public.user_profiles from public, anon, authenticated, service_role;
grant select on public.user_profiles to authenticated;
grant select, insert, update, delete on public.user_profiles to service_role;

drop policy if exists "users read their own" on public.user_profiles;
create policy "users read their own" on public.user_profiles
for select to authenticated using ((select auth.uid()) = user_id);
