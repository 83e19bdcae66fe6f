-- Live and past executions as one list, for Studio and the API. Row security of the tables beneath applies.
create or replace view public.flow_executions
with (security_invoker = true) as
-- The last attempts are picked outside the union: a condition within would keep Postgres from reading the past in the
-- order of an index, and a page would cost as much as the whole history of its user.
select
    e.execution_id,
    e.user_id,
    e.flow_id,
    e.flow_name,
    e.state,
    e.attempt,
    e.priority,
    e.run_at,
    e.queued_at,
    e.started_at,
    e.finished_at,
    e.instance_id,
    e.error,
    e.result
from (
    select
        q.id as execution_id,
        q.user_id,
        q.flow_id,
        f.name as flow_name,
        q.state,
        q.attempt,
        q.priority,
        q.run_at,
        q.queued_at,
        q.started_at,
        null::timestamptz as finished_at,
        q.instance_id,
        q.last_error as error,
        null::jsonb as result,
        true as is_final
    from public.flow_execution_queue as q
    inner join public.flows as f on q.flow_id = f.id
    union all
    select
        l.execution_id,
        l.user_id,
        l.flow_id,
        l.flow_name,
        l.outcome as state,
        l.attempt,
        l.priority,
        null::timestamptz as run_at,
        l.queued_at,
        l.started_at,
        l.finished_at,
        l.instance_id,
        l.error,
        l.result,
        l.is_final
    from public.execution_logs as l
) as e
where e.is_final;
comment on view public.flow_executions is 'Every execution once: live ones from the queue, past ones from their last attempt.';

revoke all on public.flow_executions from public, anon, authenticated, service_role;
grant select on public.flow_executions to authenticated, service_role;
