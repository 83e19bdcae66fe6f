-- Admission: the one way into the queue, for one execution or a thousand.

create or replace function private.next_accepted_at(
  accepted timestamptz[], moment timestamptz, hour_limit integer, day_limit integer, month_limit integer
) returns timestamptz
language sql
immutable
set search_path = ''
as $$
  -- accepted is sorted, latest first. With limit n, the n-th latest acceptance must have left the window.
  select greatest(
    moment,
    accepted[hour_limit] + interval '3600 seconds',
    accepted[day_limit] + interval '86400 seconds',
    accepted[month_limit] + interval '2592000 seconds')
$$;
comment on function private.next_accepted_at(timestamptz[], timestamptz, integer, integer, integer) is
'The earliest moment at which one more execution keeps all sliding windows; the moment itself when there is room.';

create or replace function private.limit_that_holds(
  accepted timestamptz[], moment timestamptz, hour_limit integer, day_limit integer, month_limit integer
) returns text
language sql
immutable
set search_path = ''
as $$
  select case
    when accepted[month_limit] + interval '2592000 seconds' > moment then 'month_limit'
    when accepted[day_limit] + interval '86400 seconds' > moment then 'day_limit'
    when accepted[hour_limit] + interval '3600 seconds' > moment then 'hour_limit'
  end
$$;
comment on function private.limit_that_holds(timestamptz[], timestamptz, integer, integer, integer) is
'Which limit refuses an execution now; null when none does.';

create or replace function private.accepted_lately(user_id uuid, most integer) returns timestamptz[]
language sql
stable
set search_path = ''
as $$
  select coalesce(array_agg(r.accepted_at order by r.accepted_at desc), '{}')
    from (select t.accepted_at from public.rate_limit_tracking t
           where t.user_id = accepted_lately.user_id
             and t.accepted_at > clock_timestamp() - interval '2592000 seconds'
           order by t.accepted_at desc
           limit most) r
$$;
comment on function private.accepted_lately(uuid, integer) is 'When a user''s latest executions were accepted, latest first.';

create or replace function private.check_enqueue_arguments(
  input jsonb, idempotency_key text, run_at timestamptz, priority integer, on_limit text
) returns text
language sql
stable
set search_path = ''
as $$
  select case
    when input is null or jsonb_typeof(input) <> 'object'
      then format('input must be a JSON object, not %s', coalesce(jsonb_typeof(input), 'null'))
    when octet_length(input::text) > 65536
      then format('input has %s bytes; at most 65536 (64 KB) are allowed', octet_length(input::text))
    when idempotency_key is not null and length(idempotency_key) not between 1 and 200
      then format('idempotency_key has %s characters; 1 to 200 are allowed', length(idempotency_key))
    when run_at is not null and (not isfinite(run_at) or run_at > clock_timestamp() + interval '366 days')
      then 'run_at must be a moment at most 366 days ahead'
    when priority is null or priority not between -100 and 100
      then format('priority must be an integer from -100 to 100, not %s', coalesce(priority::text, 'null'))
    when on_limit is null or on_limit not in ('refuse', 'defer')
      then format('on_limit must be refuse or defer, not %s', coalesce(quote_literal(private.plain(on_limit, 40)), 'null'))
  end
$$;
comment on function private.check_enqueue_arguments(jsonb, text, timestamptz, integer, text) is
'What is wrong with the arguments of an enqueue; null when nothing is.';

create or replace function private.admit_executions(
  flow_ids uuid[], inputs jsonb[], idempotency_keys text[],
  run_ats timestamptz[], priorities integer[], on_limits text[]
)
returns table (
  item integer, execution_id uuid, state text, run_at timestamptz, duplicate boolean,
  refused text, retry_after_seconds integer, limit_count integer
)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_item record;
  v_user uuid;
  v_accepted timestamptz[];
  v_moment timestamptz;
  v_accept_at timestamptz;
  v_limit text;
  v_index integer;
  -- What the loop decided, one element per item.
  v_ids uuid[] := array_fill(null::uuid, array[cardinality(flow_ids)]);
  v_accept_ats timestamptz[] := array_fill(null::timestamptz, array[cardinality(flow_ids)]);
  v_run_ats timestamptz[] := array_fill(null::timestamptz, array[cardinality(flow_ids)]);
  v_refused text[] := array_fill(null::text, array[cardinality(flow_ids)]);
  v_retry_after integer[] := array_fill(null::integer, array[cardinality(flow_ids)]);
  v_limit_counts integer[] := array_fill(null::integer, array[cardinality(flow_ids)]);
  v_duplicates boolean[] := array_fill(false, array[cardinality(flow_ids)]);
begin
  -- The row of each user is the gate of admission: made if new, then locked in order of user_id.
  insert into private.user_queue (user_id, tier, weight, max_running, suspended)
  select distinct on (e.user_id) e.user_id, e.tier, e.weight, e.max_running, e.suspended
    from unnest(flow_ids) i(flow_id)
    join public.flows f on f.id = i.flow_id
    join private.effective_limits e on e.user_id = f.user_id
   where not exists (select 1 from private.user_queue q where q.user_id = f.user_id)
   order by e.user_id
  on conflict do nothing;
  perform 1 from private.user_queue q
    where q.user_id in (select f.user_id from unnest(flow_ids) i(flow_id) join public.flows f on f.id = i.flow_id)
    order by q.user_id for update;

  for v_item in
    select i.n::integer as n, f.user_id, f.id as flow_id, f.is_enabled, e.suspended, k.execution_id as known_id,
           i.run_at, i.on_limit, e.hour_limit, e.day_limit, e.month_limit,
           -- The first item with the same key; the later ones are the same execution.
           case when i.idempotency_key is not null
                then (min(i.n) over (partition by f.user_id, i.idempotency_key))::integer end as first_n
      from unnest(flow_ids, idempotency_keys, run_ats, on_limits) with ordinality
           i(flow_id, idempotency_key, run_at, on_limit, n)
      left join public.flows f on f.id = i.flow_id
      left join private.effective_limits e on e.user_id = f.user_id
      -- A key stands for its execution for a day.
      left join private.idempotency_keys k
        on k.user_id = f.user_id and k.idempotency_key = i.idempotency_key
       and k.created_at > clock_timestamp() - interval '1 day'
     order by f.user_id, i.n
  loop
    v_index := v_item.n;
    if v_item.flow_id is null then
      v_refused[v_index] := 'unknown_flow';
    elsif v_item.known_id is not null then
      v_ids[v_index] := v_item.known_id;
      v_duplicates[v_index] := true;
    elsif v_item.first_n < v_index and v_ids[v_item.first_n] is not null then
      v_ids[v_index] := v_ids[v_item.first_n];
      v_duplicates[v_index] := true;
    elsif v_item.suspended then
      v_refused[v_index] := 'suspended';
    elsif not v_item.is_enabled then
      v_refused[v_index] := 'flow_disabled';
    else
      if v_user is distinct from v_item.user_id then
        v_user := v_item.user_id;
        v_moment := clock_timestamp();
        v_accepted := private.accepted_lately(
          v_user, greatest(v_item.hour_limit, v_item.day_limit, v_item.month_limit, 0));
      end if;
      v_accept_at := private.next_accepted_at(
        v_accepted, v_moment, v_item.hour_limit, v_item.day_limit, v_item.month_limit);
      if v_accept_at > v_moment and v_item.on_limit = 'refuse' then
        v_limit := private.limit_that_holds(
          v_accepted, v_moment, v_item.hour_limit, v_item.day_limit, v_item.month_limit);
        v_refused[v_index] := v_limit;
        v_retry_after[v_index] := ceil(extract(epoch from v_accept_at - v_moment));
        v_limit_counts[v_index] := case v_limit when 'hour_limit' then v_item.hour_limit
                                                when 'day_limit' then v_item.day_limit
                                                else v_item.month_limit end;
      else
        v_ids[v_index] := private.new_execution_id();
        v_accept_ats[v_index] := v_accept_at;
        v_run_ats[v_index] := greatest(v_accept_at, v_item.run_at);
        v_accepted := array_prepend(v_accept_at, v_accepted);
        if v_accept_at < v_accepted[2] then
          -- Accepted now, beside others deferred to later: keep the order.
          select array_agg(a.accepted_at order by a.accepted_at desc) into v_accepted
            from unnest(v_accepted) a(accepted_at);
        end if;
      end if;
    end if;
  end loop;

  return query
  with accepted as materialized (
    select d.n::integer as n, d.id, d.accept_at, d.run_at, d.input, d.idempotency_key, d.priority,
           f.user_id, f.id as flow_id, f.version, f.max_attempts,
           case when d.run_at > clock_timestamp() then 'scheduled' else 'available' end as state
      from unnest(v_ids, v_accept_ats, v_run_ats, flow_ids, inputs, idempotency_keys, priorities) with ordinality
           d(id, accept_at, run_at, flow_id, input, idempotency_key, priority, n)
      join public.flows f on f.id = d.flow_id
     where d.accept_at is not null
  ),
  queued as (
    insert into public.flow_execution_queue
      (id, user_id, flow_id, flow_version, state, priority, max_attempts, run_at, idempotency_key, input)
    select a.id, a.user_id, a.flow_id, a.version, a.state, a.priority, a.max_attempts, a.run_at,
           a.idempotency_key, a.input
      from accepted a
  ),
  tracked as (
    insert into public.rate_limit_tracking (user_id, accepted_at, execution_id)
    select a.user_id, a.accept_at, a.id from accepted a
  ),
  keyed as (
    insert into private.idempotency_keys as k (user_id, idempotency_key, execution_id)
    select a.user_id, a.idempotency_key, a.id from accepted a where a.idempotency_key is not null
    on conflict (user_id, idempotency_key)
      do update set execution_id = excluded.execution_id, created_at = excluded.created_at
  ),
  counted as (
    -- Who becomes active starts at the clock of those who are: an idle user saves up nothing.
    update private.user_queue q
       set available = q.available + n.available,
           tier = e.tier, weight = e.weight, max_running = e.max_running,
           virtual_time = case when q.available = 0 and q.running = 0
                               then greatest(q.virtual_time, s.virtual_time) else q.virtual_time end
      from (select a.user_id, count(*) filter (where a.state = 'available') as available
              from accepted a group by a.user_id) n
      join private.effective_limits e on e.user_id = n.user_id
     cross join private.queue_state s
     where q.user_id = n.user_id
  )
  select d.n::integer - 1, d.id,
         case when d.accept_at is not null then a.state
              when d.duplicate then coalesce((select q.state from public.flow_execution_queue q where q.id = d.id), 'finished')
         end,
         coalesce(d.run_at, (select q.run_at from public.flow_execution_queue q where q.id = d.id)),
         d.duplicate, d.refused, d.retry_after, d.limit_count
    from unnest(v_ids, v_accept_ats, v_run_ats, v_duplicates, v_refused, v_retry_after, v_limit_counts) with ordinality
         d(id, accept_at, run_at, duplicate, refused, retry_after, limit_count, n)
    left join accepted a on a.n = d.n
   order by d.n;

  if exists (select 1 from unnest(v_run_ats) r(run_at) where r.run_at <= clock_timestamp()) then
    perform private.wake_workers();
  end if;
end
$$;
comment on function private.admit_executions(uuid[], jsonb[], text[], timestamptz[], integer[], text[]) is
'Admits executions on behalf of the owners of their flows: limits, rows, wake-up, in one transaction.';

revoke execute on function private.next_accepted_at(timestamptz[], timestamptz, integer, integer, integer) from public;
revoke execute on function private.limit_that_holds(timestamptz[], timestamptz, integer, integer, integer) from public;
revoke execute on function private.accepted_lately(uuid, integer) from public;
revoke execute on function private.check_enqueue_arguments(jsonb, text, timestamptz, integer, text) from public;
revoke execute on function private.admit_executions(uuid[], jsonb[], text[], timestamptz[], integer[], text[])
from public;
