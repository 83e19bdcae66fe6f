-- Cancelling: at once while queued; a running one is told with the next heartbeat of its processor.

create or replace function public.cancel_flow_execution(execution_id uuid) returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_now constant timestamptz := clock_timestamp();
  v_user uuid := auth.uid();
  v_row public.flow_execution_queue;
  v_owner uuid;
  v_state text;
begin
  if v_user is null and coalesce(auth.role(), '') <> 'service_role' then
    raise sqlstate 'PT401' using message = 'cancel_flow_execution acts for the signed-in user, and nobody is signed in',
      hint = 'Call it with a user''s access token.';
  end if;
  select q.user_id into v_owner from public.flow_execution_queue q
   where q.id = cancel_flow_execution.execution_id and (v_user is null or q.user_id = v_user);
  if found then
    -- The user first, then the execution, as everywhere.
    perform 1 from private.user_queue u where u.user_id = v_owner for update;
    select * into v_row from public.flow_execution_queue q where q.id = cancel_flow_execution.execution_id for update;
  end if;

  if v_row.id is null then
    select l.outcome into v_state from public.execution_logs l
     where l.execution_id = cancel_flow_execution.execution_id and l.is_final
       and l.finished_at >= private.execution_id_time(cancel_flow_execution.execution_id) - interval '1 minute'
       and (v_user is null or l.user_id = v_user);
    if v_state is null then
      raise sqlstate 'PT404' using message = format('execution_id: no execution %s', cancel_flow_execution.execution_id),
        hint = 'Check the id; you can cancel your own executions only.';
    end if;
    return jsonb_build_object('execution_id', cancel_flow_execution.execution_id, 'state', v_state);
  end if;

  if v_row.state = 'running' then
    update public.flow_execution_queue q set cancel_requested_at = coalesce(q.cancel_requested_at, clock_timestamp())
     where q.id = v_row.id;
    return jsonb_build_object('execution_id', v_row.id, 'state', 'cancelling');
  end if;

  insert into public.execution_logs
    (execution_id, attempt, user_id, tier, flow_id, flow_name, flow_kind, flow_version, outcome, is_final, category,
     error, input, priority, origin_id, queued_at)
  select v_row.id, v_row.attempt, v_row.user_id, u.tier, v_row.flow_id, f.name, f.kind, v_row.flow_version,
         'cancelled', true, 'cancelled', v_row.last_error, v_row.input, v_row.priority, v_row.origin_id, v_row.queued_at
    from public.flows f, private.user_queue u
   where f.id = v_row.flow_id and u.user_id = v_row.user_id;
  delete from public.flow_execution_queue q where q.id = v_row.id;
  if v_row.state = 'scheduled' then
    -- One that was deferred and whose moment has not come gives its place back.
    delete from public.rate_limit_tracking t
     where t.user_id = v_row.user_id and t.execution_id = v_row.id and t.accepted_at > v_now;
  end if;
  if v_row.state = 'available' then
    update private.user_queue u set available = u.available - 1 where u.user_id = v_row.user_id;
  end if;
  return jsonb_build_object('execution_id', v_row.id, 'state', 'cancelled');
end
$$;
comment on function public.cancel_flow_execution(uuid) is
'Cancels an execution of yours: at once while queued; a running one ends as cancelled when its processor has heard of it.';

revoke execute on function public.cancel_flow_execution(uuid) from public, anon, authenticated, service_role;
grant execute on function public.cancel_flow_execution(uuid) to authenticated, service_role;
