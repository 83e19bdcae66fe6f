-- Let in: a user, reading their own. The queue functions write; the service role may do all.
-- Denied: other users and anonymous callers; staff, who read through audited functions only.
alter table public.dead_letters enable row level security;
revoke all on public.dead_letters from public, anon, authenticated, service_role;
grant select on public.dead_letters to authenticated;
grant select, insert, update, delete on public.dead_letters to service_role;

drop policy if exists "users read their own" on public.dead_letters;
create policy "users read their own" on public.dead_letters
for select to authenticated using ((select auth.uid()) = user_id);
