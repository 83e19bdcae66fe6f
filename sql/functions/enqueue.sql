-- The two doors of admission: a user for one flow of their own, a service for many flows of anyone.

create or replace function public.enqueue_flow_execution(
  flow_id uuid,
  input jsonb default '{}'::jsonb,
  idempotency_key text default null,
  run_at timestamptz default null,
  priority integer default 0,
  on_limit text default 'refuse'
) returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_variable
declare
  v_user uuid := auth.uid();
  v_problem text := private.check_enqueue_arguments(input, idempotency_key, run_at, priority, on_limit);
  v_result record;
begin
  if v_user is null then
    raise sqlstate 'PT401' using message = 'enqueue_flow_execution acts for the signed-in user, and nobody is signed in',
      hint = 'Call it with a user''s access token; a service uses enqueue_flow_executions.';
  end if;
  if v_problem is not null then
    raise sqlstate 'PT400' using message = v_problem, hint = 'Nothing was queued. Correct the argument and call again.';
  end if;
  select * into v_result
    from private.admit_executions(array[flow_id], array[input], array[idempotency_key], array[run_at],
                                  array[priority], array[on_limit], v_user);
  if v_result.refused is null then
    if v_result.remaining is not null then
      perform set_config('response.headers', private.limit_headers(
        v_result.limit_name, v_result.limit_count, v_result.limit_seconds, v_result.remaining,
        v_result.retry_after_seconds)::text, true);
    end if;
    return jsonb_build_object('execution_id', v_result.execution_id, 'state', v_result.state,
                              'run_at', v_result.run_at, 'duplicate', v_result.duplicate);
  elsif v_result.refused = 'unknown_flow' then
    raise sqlstate 'PT404' using message = format('flow_id: you have no flow %s', flow_id),
      hint = 'List your flows to find its id.';
  elsif v_result.refused = 'suspended' then
    raise sqlstate 'PT403' using message = 'your account is suspended: nothing is queued',
      hint = 'Your data stays readable. Ask support.';
  elsif v_result.refused = 'flow_disabled' then
    raise sqlstate 'PT409' using message = 'flow_id: the flow is disabled', hint = 'Enable the flow first.';
  end if;
  perform private.raise_limit_reached(v_result.limit_name, v_result.limit_count, v_result.limit_seconds,
                                      v_result.retry_after_seconds);
  return null;
end
$$;
comment on function public.enqueue_flow_execution(uuid, jsonb, text, timestamptz, integer, text) is
'Queues a run of one of your flows. 429 with Retry-After when a limit is reached; on_limit = defer schedules it instead.';

create or replace function private.limit_headers(
  limit_name text, limit_count integer, limit_seconds integer, remaining integer, seconds_left integer
) returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
declare
  v_policy constant text := replace(limit_name, '_limit', '');
begin
  -- draft-ietf-httpapi-ratelimit-headers-11, for the window that leaves the least room: q in any w seconds, r of it are
  -- left; t, where given, is when one more fits.
  return jsonb_build_array(
    jsonb_build_object('RateLimit-Policy', format('"%s";q=%s;w=%s', v_policy, limit_count, limit_seconds)),
    jsonb_build_object('RateLimit', format('"%s";r=%s', v_policy, remaining) || coalesce(';t=' || seconds_left, '')));
end
$$;
comment on function private.limit_headers(text, integer, integer, integer, integer) is
'The RateLimit header fields of an answer, in the form of PostgREST''s response.headers.';

create or replace function private.raise_limit_reached(
  limit_name text, limit_count integer, limit_seconds integer, retry_after_seconds integer
) returns void
language plpgsql
set search_path = ''
as $$
declare
  v_window constant text := replace(limit_name, '_limit', '');
  v_headers constant jsonb := private.limit_headers(limit_name, limit_count, limit_seconds, 0, retry_after_seconds);
begin
  -- PostgREST sends this as status 429 with these headers.
  raise sqlstate 'PGRST' using
    message = jsonb_build_object(
      'code', 'PT429',
      'message', format('%s limit of %s executions per %s is reached',
                        case when v_window like 'flow%' then 'the flow''s' else 'your' end, limit_count,
                        case limit_seconds when 3600 then 'hour' when 86400 then 'day' when 2592000 then '30 days'
                                           else limit_seconds || ' s' end),
      'details', jsonb_build_object('window', v_window, 'window_seconds', limit_seconds, 'limit', limit_count,
                                    'remaining', 0, 'retry_after_seconds', retry_after_seconds)::text,
      'hint', format('Try again in %s s, or pass on_limit = defer to have it scheduled for then.', retry_after_seconds)
    )::text,
    detail = jsonb_build_object(
      'status', 429,
      'headers', (v_headers -> 0) || (v_headers -> 1) || jsonb_build_object('Retry-After', retry_after_seconds::text)
    )::text;
end
$$;
comment on function private.raise_limit_reached(text, integer, integer, integer) is 'Answers 429 Too Many Requests.';

create or replace function public.enqueue_flow_executions(items jsonb)
returns table (
  item integer, execution_id uuid, state text, run_at timestamptz, duplicate boolean,
  refused text, limit_count integer, retry_after_seconds integer
)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_bad record;
begin
  -- The API shows 1,000 rows of an answer (max-rows of a hosted project), and every item wants its answer.
  if items is null or jsonb_typeof(items) <> 'array' or jsonb_array_length(items) not between 1 and 1000 then
    raise sqlstate 'PT400' using message = 'items must be a list of 1 to 1000 executions',
      hint = 'Each is {"flow_id", "input", "idempotency_key", "run_at", "priority", "on_limit"}; only flow_id is required.';
  end if;
  -- All or nothing: a malformed item is refused before anything is queued.
  select i.n, i.problem into v_bad
    from (select e.n - 1 as n,
                 case when jsonb_typeof(e.value) <> 'object' then 'must be an object'
                      when e.value ->> 'flow_id' is null
                           or e.value ->> 'flow_id' !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                        then 'flow_id must be a uuid'
                      when e.value ? 'priority' and not private.is_integer_between(e.value -> 'priority', -100, 100)
                        then 'priority must be an integer from -100 to 100'
                      else private.check_enqueue_arguments(
                        coalesce(e.value -> 'input', '{}'), e.value ->> 'idempotency_key',
                        (e.value ->> 'run_at')::timestamptz, coalesce((e.value ->> 'priority')::integer, 0),
                        coalesce(e.value ->> 'on_limit', 'refuse'))
                 end as problem
            from jsonb_array_elements(items) with ordinality e(value, n)) i
   where i.problem is not null
   order by i.n limit 1;
  if found then
    raise sqlstate 'PT400' using message = format('items[%s]: %s', v_bad.n, v_bad.problem),
      hint = 'Nothing was queued. Correct the item and call again.';
  end if;

  return query
  select a.item, a.execution_id, a.state, a.run_at, a.duplicate, a.refused,
         case when a.refused is not null then a.limit_count end,
         case when a.refused is not null then a.retry_after_seconds end
    from (select array_agg((e.value ->> 'flow_id')::uuid order by e.n) as flow_ids,
                 array_agg(coalesce(e.value -> 'input', '{}') order by e.n) as inputs,
                 array_agg(e.value ->> 'idempotency_key' order by e.n) as idempotency_keys,
                 array_agg((e.value ->> 'run_at')::timestamptz order by e.n) as run_ats,
                 array_agg(coalesce((e.value ->> 'priority')::integer, 0) order by e.n) as priorities,
                 array_agg(coalesce(e.value ->> 'on_limit', 'refuse') order by e.n) as on_limits
            from jsonb_array_elements(items) with ordinality e(value, n)) i
   cross join lateral private.admit_executions(
     i.flow_ids, i.inputs, i.idempotency_keys, i.run_ats, i.priorities, i.on_limits) a;
exception
  when invalid_datetime_format or datetime_field_overflow then
    raise sqlstate 'PT400' using message = 'items: a run_at is no timestamp (ISO 8601 with an offset)',
      hint = 'Nothing was queued. Correct the item and call again.';
end
$$;
comment on function public.enqueue_flow_executions(jsonb) is
'Queues up to 1,000 runs on behalf of the owners of their flows. Answers per item: an execution id, or why it was refused.';

revoke execute on function private.limit_headers(text, integer, integer, integer, integer) from public;
revoke execute on function private.raise_limit_reached(text, integer, integer, integer) from public;
revoke execute on function public.enqueue_flow_execution(uuid, jsonb, text, timestamptz, integer, text)
from public, anon, authenticated, service_role;
grant execute on function public.enqueue_flow_execution(uuid, jsonb, text, timestamptz, integer, text)
to authenticated, service_role;
revoke execute on function public.enqueue_flow_executions(jsonb) from public, anon, authenticated, service_role;
grant execute on function public.enqueue_flow_executions(jsonb) to service_role;
