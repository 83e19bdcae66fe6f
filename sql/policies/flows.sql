-- Let in: a user, with all verbs on their own flows. A trigger checks the definition.
-- Denied: other users and anonymous callers; staff; setting the version, or the owner of a flow that exists.
alter table public.flows enable row level security;
revoke all on public.flows from public, anon, authenticated, service_role;
grant select, delete on public.flows to authenticated;
grant insert (
    user_id, name, kind, definition, is_enabled, max_attempts, deadline_seconds,
    burst_limit, burst_seconds, hour_limit, day_limit
) on public.flows to authenticated;
grant update (
    name, kind, definition, is_enabled, max_attempts, deadline_seconds,
    burst_limit, burst_seconds, hour_limit, day_limit
) on public.flows to authenticated;
grant select, insert, update, delete on public.flows to service_role;

drop policy if exists "users read their own" on public.flows;
create policy "users read their own" on public.flows
for select to authenticated using ((select auth.uid()) = user_id);
drop policy if exists "users insert their own" on public.flows;
create policy "users insert their own" on public.flows
for insert to authenticated with check (
    (select auth.uid()) = user_id
);
drop policy if exists "users update their own" on public.flows;
create policy "users update their own" on public.flows
for update to authenticated using ((select auth.uid()) = user_id) with check (
    (select auth.uid()) = user_id
);
drop policy if exists "users delete their own" on public.flows;
create policy "users delete their own" on public.flows
for delete to authenticated using ((select auth.uid()) = user_id);
