-- Let in: a user, with all verbs on schedules of their own flows, in the columns granted below.
-- Denied: other users and anonymous callers; staff; a schedule of a flow that is another user's.
alter table public.flow_schedules enable row level security;
revoke all on public.flow_schedules from public, anon, authenticated, service_role;
grant select, delete on public.flow_schedules to authenticated;
grant insert (
    user_id, flow_id, kind, cron, interval_seconds, time_zone, input, catch_up, jitter_seconds, next_run_at, paused_at
) on public.flow_schedules to authenticated;
grant update (
    kind, cron, interval_seconds, time_zone, input, catch_up, jitter_seconds, next_run_at, paused_at
) on public.flow_schedules to authenticated;
grant select, insert, update, delete on public.flow_schedules to service_role;

drop policy if exists "users read their own" on public.flow_schedules;
create policy "users read their own" on public.flow_schedules
for select to authenticated using ((select auth.uid()) = user_id);
drop policy if exists "users insert their own" on public.flow_schedules;
create policy "users insert their own" on public.flow_schedules
for insert to authenticated with check (
    (select auth.uid()) = user_id and exists (
        select 1 from public.flows as f where f.id = flow_id and f.user_id = (select auth.uid())
    )
);
drop policy if exists "users update their own" on public.flow_schedules;
create policy "users update their own" on public.flow_schedules
for update to authenticated using ((select auth.uid()) = user_id) with check (
    (select auth.uid()) = user_id and exists (
        select 1 from public.flows as f where f.id = flow_id and f.user_id = (select auth.uid())
    )
);
drop policy if exists "users delete their own" on public.flow_schedules;
create policy "users delete their own" on public.flow_schedules
for delete to authenticated using ((select auth.uid()) = user_id);
