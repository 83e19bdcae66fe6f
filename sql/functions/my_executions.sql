-- A user's own executions, page by page.

create or replace function public.list_my_executions(before timestamptz default null, max integer default 50)
returns table (
  execution_id uuid, flow_id uuid, flow_name text, state text, attempt integer, priority smallint,
  run_at timestamptz, queued_at timestamptz, started_at timestamptz, finished_at timestamptz,
  instance_id uuid, error jsonb, result jsonb
)
language plpgsql
stable
security definer
set search_path = ''
-- A page is read in the order of the index. Postgres underestimates who has a long history, and would sort all of it.
set enable_sort = off
as $$
#variable_conflict use_column
declare
  v_user uuid := auth.uid();
begin
  if v_user is null then
    raise sqlstate 'PT401' using message = 'list_my_executions answers the signed-in user, and nobody is signed in',
      hint = 'Call it with a user''s access token; get_user_executions has those of others.';
  elsif list_my_executions.max is null or list_my_executions.max not between 1 and 1000 then
    raise sqlstate 'PT400' using message = format('max must be an integer from 1 to 1000, not %s', coalesce(list_my_executions.max::text, 'null'));
  end if;
  return query
    (select q.id, q.flow_id, f.name, q.state, q.attempt, q.priority, q.run_at, q.queued_at, q.started_at,
            null::timestamptz, q.instance_id, q.last_error, null::jsonb
       from public.flow_execution_queue q
       join public.flows f on f.id = q.flow_id
      where q.user_id = v_user and list_my_executions.before is null
      order by q.queued_at desc
      limit list_my_executions.max)
    union all
    (select l.execution_id, l.flow_id, l.flow_name, l.outcome, l.attempt, l.priority, null::timestamptz, l.queued_at,
            l.started_at, l.finished_at, l.instance_id, l.error, l.result
       from public.execution_logs l
      where l.user_id = v_user and l.is_final
        and l.finished_at < coalesce(list_my_executions.before, 'infinity')
      order by l.finished_at desc
      limit list_my_executions.max)
    limit list_my_executions.max;
end
$$;
comment on function public.list_my_executions(timestamptz, integer) is
'Your executions: live ones first, then past ones, latest first. For the next page, before is the last finished_at; infinity when all of the page was live.';

revoke execute on function public.list_my_executions(timestamptz, integer)
from public, anon, authenticated, service_role;
grant execute on function public.list_my_executions(timestamptz, integer) to authenticated, service_role;
