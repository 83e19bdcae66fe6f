-- Live and past executions as one list, for Studio and the API. Row security of the tables beneath applies.
create or replace view public.flow_executions
with (security_invoker = true) as
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
    null::jsonb as result
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
    l.result
from public.execution_logs as l
where l.is_final;
comment on view public.flow_executions is 'Every execution once: live ones from the queue, past ones from their last attempt.';

revoke all on public.flow_executions from public, anon, authenticated, service_role;
grant select on public.flow_executions to authenticated, service_role;
