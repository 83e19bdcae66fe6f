-- Status: of one execution, for its owner; of the whole queue, for operators.

create or replace function public.get_flow_execution_status(execution_id uuid) returns jsonb
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  v_user uuid := auth.uid();
  v_status jsonb;
begin
  if v_user is null and coalesce(auth.role(), '') <> 'service_role' then
    raise sqlstate 'PT401' using message = 'get_flow_execution_status acts for the signed-in user, and nobody is signed in',
      hint = 'Call it with a user''s access token.';
  end if;
  select jsonb_build_object(
           'execution_id', q.id, 'flow_id', q.flow_id, 'user_id', q.user_id,
           'state', case when q.state = 'available' and u.running >= u.max_running then 'waiting' else q.state end,
           'attempt', q.attempt, 'max_attempts', q.max_attempts,
           -- Place among the user's own: counted up to 1,000, so that a long backlog costs no more.
           'position', case when q.state = 'available' then (
             select count(*) + 1
               from (select o.priority, o.run_at, o.id from public.flow_execution_queue o
                      where o.user_id = q.user_id and o.state = 'available'
                      order by o.priority desc, o.run_at, o.id
                      limit 1000) ahead
              where (-ahead.priority, ahead.run_at, ahead.id) < (-q.priority, q.run_at, q.id)) end,
           'run_at', q.run_at, 'queued_at', q.queued_at, 'started_at', q.started_at, 'finished_at', null,
           'estimated_start_at', case when q.state = 'scheduled' then q.run_at end,
           'result', null, 'error', q.last_error, 'cancel_requested', q.cancel_requested_at is not null)
    into v_status
    from public.flow_execution_queue q
    join private.user_queue u on u.user_id = q.user_id
   where q.id = get_flow_execution_status.execution_id and (v_user is null or q.user_id = v_user);
  if found then
    return v_status;
  end if;

  select jsonb_build_object(
           'execution_id', l.execution_id, 'flow_id', l.flow_id, 'user_id', l.user_id, 'state', l.outcome,
           'attempt', l.attempt, 'max_attempts', null, 'position', null, 'run_at', null, 'queued_at', l.queued_at,
           'started_at', l.started_at, 'finished_at', l.finished_at, 'estimated_start_at', null,
           'result', l.result, 'error', l.error, 'cancel_requested', false)
    into v_status
    from public.execution_logs l
   where l.execution_id = get_flow_execution_status.execution_id and l.is_final
     -- History is never older than the id: earlier partitions are not looked at.
     and l.finished_at >= private.execution_id_time(get_flow_execution_status.execution_id) - interval '1 minute'
     and (v_user is null or l.user_id = v_user);
  if not found then
    raise sqlstate 'PT404' using message = format('execution_id: no execution %s', get_flow_execution_status.execution_id),
      hint = 'Check the id; you can see your own executions only.';
  end if;
  return v_status;
end
$$;
comment on function public.get_flow_execution_status(uuid) is 'State, attempts, place in the queue and result of an execution of yours.';

create or replace function public.get_queue_status() returns jsonb
language sql
stable
security definer
set search_path = ''
as $$
  with live as materialized (
    select case when q.state = 'available' and u.running >= u.max_running then 'waiting' else q.state end as state,
           u.tier, count(*) as n, min(q.run_at) as oldest_run_at
      from public.flow_execution_queue q
      join private.user_queue u on u.user_id = q.user_id
     group by 1, 2
  ),
  in_flight as materialized (
    select q.instance_id, count(*) as n from public.flow_execution_queue q where q.state = 'running' group by 1
  )
  select jsonb_build_object(
    'states', (select coalesce(jsonb_object_agg(s.state, s.n), '{}')
                 from (select l.state, sum(l.n) as n from live l group by l.state) s),
    'tiers', (select coalesce(jsonb_object_agg(t.tier, t.states), '{}')
                from (select l.tier, jsonb_object_agg(l.state, l.n) as states from live l group by l.tier) t),
    'oldest_available_seconds', (select greatest(0, extract(epoch from clock_timestamp() - min(l.oldest_run_at)))::integer
                                   from live l where l.state in ('available', 'waiting')),
    'due_scheduled', (select count(*) from public.flow_execution_queue q
                       where q.state = 'scheduled' and q.run_at <= clock_timestamp()),
    'in_flight', (select coalesce(sum(f.n), 0) from in_flight f),
    'instances', (select coalesce(jsonb_agg(jsonb_build_object(
                           'name', i.name, 'owner', i.owner, 'state', i.state, 'breaker_state', i.breaker_state,
                           'in_flight', coalesce(f.n, 0), 'max_in_flight', i.max_in_flight) order by i.name), '[]')
                    from public.apps_script_instances i left join in_flight f on f.instance_id = i.id),
    'processors', (select coalesce(jsonb_agg(jsonb_build_object(
                            'id', p.id, 'host', p.host, 'version', p.version, 'in_flight', p.in_flight,
                            'draining', p.draining, 'last_heartbeat_at', p.last_heartbeat_at) order by p.id), '[]')
                     from public.queue_processors p
                    where p.last_heartbeat_at > clock_timestamp() - interval '5 minutes'),
    'dead_letters', (select count(*) from public.dead_letters d where d.replayed_at is null and d.discarded_at is null),
    'paused', (select c.paused_at is not null from public.load_balancer_config c))
$$;
comment on function public.get_queue_status() is 'The queue at a glance: states, tiers, instances, processors. Service role only.';

revoke execute on function public.get_flow_execution_status(uuid) from public, anon, authenticated, service_role;
grant execute on function public.get_flow_execution_status(uuid) to authenticated, service_role;
revoke execute on function public.get_queue_status() from public, anon, authenticated, service_role;
grant execute on function public.get_queue_status() to service_role;
