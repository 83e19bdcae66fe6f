-- A user reads the exception that holds for them; set_user_override() writes it.
alter table public.user_limit_overrides enable row level security;
revoke all on public.user_limit_overrides from public, anon, authenticated, service_role;
grant select on public.user_limit_overrides to authenticated;
grant select, insert, update, delete on public.user_limit_overrides to service_role;

drop policy if exists "users read their own" on public.user_limit_overrides;
create policy "users read their own" on public.user_limit_overrides
for select to authenticated using ((select auth.uid()) = user_id);
