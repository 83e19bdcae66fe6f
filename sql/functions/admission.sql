-- Admission: the one way into the queue, for one execution or a thousand.

create or replace function private.check_enqueue_arguments(
  input jsonb, idempotency_key text, run_at timestamptz, priority integer, on_limit text
) returns text
language plpgsql
stable
set search_path = ''
as $$
begin
  return case
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
  end;
end
$$;
comment on function private.check_enqueue_arguments(jsonb, text, timestamptz, integer, text) is
'What is wrong with the arguments of an enqueue; null when nothing is.';

create or replace function private.admit_executions(
  flow_ids uuid[], inputs jsonb[], idempotency_keys text[],
  run_ats timestamptz[], priorities integer[], on_limits text[], owner uuid default null
)
returns table (
  item integer, execution_id uuid, state text, run_at timestamptz, duplicate boolean,
  refused text, retry_after_seconds integer,
  limit_name text, limit_count integer, limit_seconds integer, remaining integer
)
language plpgsql
security definer
set search_path = ''
-- Planned once in a session, since planning takes longer than admitting one; and always as a walk from the items to the
-- rows they name, also where the plan is made while a table is empty.
set plan_cache_mode = 'force_generic_plan'
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
#variable_conflict use_column
declare
  v_names constant text[] := '{hour_limit,day_limit,month_limit,flow_burst_limit,flow_hour_limit,flow_day_limit}';
  v_moment timestamptz;
  -- Per item: the place of its user in v_users, and what its flow says.
  v_item_users integer[];
  v_enabled boolean[];
  v_versions integer[];
  v_max_attempts integer[];
  -- Scopes are the users and, after them, the flows with limits of their own. Each has three windows: v_used[s][k]
  -- executions were accepted after v_from[s][k]. Before v_starts[s] nothing finds room, because of window v_holders[s].
  v_users uuid[];
  v_new boolean;
  v_stale uuid[];
  v_suspended boolean[];
  v_limited uuid[];
  v_limits integer[];
  v_seconds integer[];
  v_from timestamptz[];
  v_used bigint[];
  v_starts timestamptz[];
  v_holders integer[];
  -- The item at hand.
  s integer;
  v_scopes integer[];
  v_flow uuid;
  v_start timestamptz;
  v_since timestamptz;
  v_is_off boolean;
  v_spans tstzmultirange;
  v_closed tstzmultirange;
  v_latest timestamptz;
  v_holder integer;
  v_tightest integer;
  -- Per item: what was decided; n is in v_accepted, and in v_untracked until rate_limit_tracking has it.
  v_known uuid[];
  v_firsts integer[];
  v_ids uuid[] := '{}';
  v_accept_ats timestamptz[] := '{}';
  v_run_ats timestamptz[] := '{}';
  v_states text[] := '{}';
  v_flows uuid[] := '{}';
  v_accepted integer[] := '{}';
  v_untracked integer[] := '{}';
begin
  select array_agg(i.u order by i.n), array_agg(i.is_enabled order by i.n),
         array_agg(i.version order by i.n), array_agg(i.max_attempts order by i.n), bool_or(i.is_new),
         array_agg(distinct i.user_id order by i.user_id) filter (where i.user_id is not null),
         array_agg(distinct i.flow_id order by i.flow_id) filter (where i.is_limited)
    into v_item_users, v_enabled, v_versions, v_max_attempts, v_new, v_users, v_limited
    from (select i.n, i.flow_id, f.user_id, f.is_enabled, f.version, f.max_attempts,
                 f.user_id is not null and q.user_id is null as is_new,
                 case when f.user_id is not null then (dense_rank() over (order by f.user_id))::integer end as u,
                 coalesce(f.burst_limit, f.hour_limit, f.day_limit) is not null as is_limited
            from unnest(flow_ids) with ordinality i(flow_id, n)
            left join public.flows f on f.id = i.flow_id and (owner is null or f.user_id = owner)
            left join private.user_queue q on q.user_id = f.user_id) i;

  -- The row of each user is the gate of admission: made if new, then locked, in order of user_id.
  if v_new then
    insert into private.user_queue (user_id, tier, weight, max_running, suspended)
    select e.user_id, e.tier, e.weight, e.max_running, e.suspended
      from private.effective_limits e
     where e.user_id = any (v_users)
     order by e.user_id
    on conflict do nothing;
  end if;
  perform 1 from private.user_queue q where q.user_id = any (v_users) order by q.user_id for update;

  -- What decides is read after that.
  select array_agg(u.suspended), array_agg(u.limits), array_agg(array[3600, 86400, 2592000]),
         array_agg(array[u.hour_from, u.day_from, u.month_from]), array_agg(array[u.hour_used, u.day_used, u.month_used]),
         array_agg(case when u.full_for = u.limits then u.full_until end), array_agg(u.full_by),
         array_agg(u.user_id) filter (where u.is_stale)
    into v_suspended, v_limits, v_seconds, v_from, v_used, v_starts, v_holders, v_stale
    from (select u.user_id, e.suspended, array[e.hour_limit, e.day_limit, e.month_limit] as limits,
                 q.hour_from, q.hour_used, q.day_from, q.day_used, q.month_from, q.month_used,
                 q.full_until, q.full_for, q.full_by,
                 (q.tier, q.weight, q.max_running, q.suspended)
                 is distinct from (e.tier, e.weight, e.max_running, e.suspended) as is_stale
            from unnest(v_users) u(user_id)
            left join private.user_queue q on q.user_id = u.user_id
            left join private.effective_limits e on e.user_id = u.user_id
           order by u.user_id) u;
  if v_stale is not null then
    -- Who was idle missed the last change of the tier.
    perform private.refresh_queue_rows(v_stale);
  end if;
  if v_limited is not null then
    select v_limits || array_agg(f.limits), v_seconds || array_agg(f.seconds),
           v_from || array_agg(f.counted_from), v_used || array_agg(f.counted)
      into v_limits, v_seconds, v_from, v_used
      from (select array[f.burst_limit, f.hour_limit, f.day_limit] as limits,
                   array[f.burst_seconds, 3600, 86400] as seconds,
                   case when w is null then array_fill('-infinity'::timestamptz, array[3])
                        else array[w.burst_from, w.hour_from, w.day_from] end as counted_from,
                   case when w is null then array[0, 0, 0]
                        else array[w.burst_used, w.hour_used, w.day_used] end as counted
              from unnest(v_limited) l(flow_id)
              left join public.flows f on f.id = l.flow_id
              left join private.flow_windows w on w.flow_id = l.flow_id
             order by l.flow_id) f;
  end if;
  v_moment := clock_timestamp();
  if array_remove(idempotency_keys, null) <> '{}' then
    -- A key stands for its execution for a day, and among these items for the first that has it.
    select array_agg(i.execution_id order by i.n), array_agg(i.first_n order by i.n) into v_known, v_firsts
      from (select i.n, k.execution_id, case when i.idempotency_key is not null
                   then min(i.n) over (partition by v_item_users[i.n], i.idempotency_key) end as first_n
              from unnest(idempotency_keys) with ordinality i(idempotency_key, n)
              left join private.idempotency_keys k
                on k.user_id = v_users[v_item_users[i.n]] and k.idempotency_key = i.idempotency_key
               and k.created_at > v_moment - interval '1 day') i;
  end if;

  for n in 1 .. cardinality(flow_ids) loop
    item := n - 1;
    s := v_item_users[n];
    execution_id := coalesce(v_known[n], v_ids[v_firsts[n]]);
    duplicate := execution_id is not null;
    if duplicate then
      -- Not among the rows yet, if it came in this call.
      state := v_states[v_firsts[n]];
      run_at := v_run_ats[v_firsts[n]];
      if state is null then
        select q.state, q.run_at into state, run_at from public.flow_execution_queue q where q.id = v_known[n];
        state := coalesce(state, 'finished');
      end if;
      return next;
      continue;
    end if;
    state := null;
    run_at := null;
    retry_after_seconds := null;
    limit_name := null;
    limit_count := null;
    limit_seconds := null;
    remaining := null;
    refused := case when v_suspended[s] is null then 'unknown_flow'
                    when v_suspended[s] then 'suspended'
                    when not v_enabled[n] then 'flow_disabled' end;
    if refused is not null then
      return next;
      continue;
    end if;

    v_scopes := array[s];
    v_flow := null;
    if array_position(v_limited, flow_ids[n]) is not null then
      v_flow := flow_ids[n];
      s := cardinality(v_users) + array_position(v_limited, v_flow);
      v_scopes := v_scopes || s;
    end if;
    v_start := greatest(v_moment, v_starts[v_scopes[1]], v_starts[s]);
    v_holder := v_holders[case when v_start = v_starts[s] then s else v_scopes[1] end];
    v_latest := v_start;
    v_closed := '{}';
    v_tightest := null;
    foreach s in array v_scopes loop
      for k in 1 .. 3 loop
        continue when v_limits[s][k] is null;
        v_since := v_start - make_interval(secs => v_seconds[s][k]);
        -- A count from before the window is too high, which does no harm until it is near the limit. A user is told what
        -- remains, so theirs is never older than a hundredth of the window.
        v_is_off := v_from[s][k] is null or v_from[s][k] > v_since
                    or (v_from[s][k] < v_since and v_used[s][k] + 1 >= v_limits[s][k])
                    or (owner is not null and v_from[s][k] < v_since - make_interval(secs => v_seconds[s][k] / 100.0));
        continue when not v_is_off and v_used[s][k] < v_limits[s][k];
        if v_untracked <> '{}' then
          insert into public.rate_limit_tracking (user_id, accepted_at, execution_id, flow_id)
          select v_users[v_item_users[t.n]], v_accept_ats[t.n], v_ids[t.n], v_flows[t.n] from unnest(v_untracked) t(n);
          v_untracked := '{}';
        end if;
        if v_is_off then
          v_used[s][k] := private.count_since(
            v_users[v_item_users[n]], case when s > cardinality(v_users) then v_flow end,
            v_since, v_from[s][k], v_used[s][k]);
          v_from[s][k] := v_since;
        end if;
        if v_used[s][k] >= v_limits[s][k] then
          v_spans := private.closed_spans(
            v_users[v_item_users[n]], case when s > cardinality(v_users) then v_flow end,
            v_since, v_used[s][k], v_limits[s][k], v_seconds[s][k]);
          v_closed := v_closed + v_spans;
          if private.opens_at(v_spans, v_start) > v_latest then
            v_latest := private.opens_at(v_spans, v_start);
            v_holder := case when s > cardinality(v_users) then 3 + k else k end;
          end if;
        end if;
      end loop;
    end loop;
    v_accept_ats[n] := coalesce(private.opens_at(v_closed, v_start), v_start);
    if v_accept_ats[n] > v_start then
      v_starts[s] := v_accept_ats[n];
      v_holders[s] := v_holder;
    end if;

    -- As far ahead as run_at may be.
    if v_accept_ats[n] > v_moment and (on_limits[n] = 'refuse' or v_accept_ats[n] > v_moment + interval '366 days') then
      refused := v_names[v_holder];
    else
      execution_id := private.new_execution_id();
      run_at := greatest(v_accept_ats[n], run_ats[n]);
      state := case when run_at > v_moment then 'scheduled' else 'available' end;
      v_ids[n] := execution_id;
      v_run_ats[n] := run_at;
      v_states[n] := state;
      v_flows[n] := v_flow;
      v_accepted := v_accepted || n;
      v_untracked := v_untracked || n;
      foreach s in array v_scopes loop
        for k in 1 .. 3 loop
          v_used[s][k] := v_used[s][k] + 1;
          if v_limits[s][k] - v_used[s][k] <= coalesce(remaining, v_limits[s][k]) then
            remaining := v_limits[s][k] - v_used[s][k];
            v_tightest := case when s > cardinality(v_users) then 3 + k else k end;
          end if;
        end loop;
      end loop;
    end if;
    if v_accept_ats[n] > v_moment then
      v_tightest := v_holder;
      remaining := 0;
      retry_after_seconds := ceil(extract(epoch from v_accept_ats[n] - v_moment));
    end if;
    limit_name := v_names[v_tightest];
    s := v_scopes[case when v_tightest > 3 then 2 else 1 end];
    limit_count := v_limits[s][(v_tightest - 1) % 3 + 1];
    limit_seconds := v_seconds[s][(v_tightest - 1) % 3 + 1];
    return next;
  end loop;

  insert into public.flow_execution_queue
    (id, user_id, flow_id, flow_version, state, priority, max_attempts, run_at, idempotency_key, input)
  select v_ids[a.n], v_users[v_item_users[a.n]], flow_ids[a.n], v_versions[a.n], v_states[a.n], priorities[a.n],
         v_max_attempts[a.n], v_run_ats[a.n], idempotency_keys[a.n], inputs[a.n]
    from unnest(v_accepted) a(n);
  insert into public.rate_limit_tracking (user_id, accepted_at, execution_id, flow_id)
  select v_users[v_item_users[t.n]], v_accept_ats[t.n], v_ids[t.n], v_flows[t.n] from unnest(v_untracked) t(n);
  update private.user_queue q
     set available = q.available + a.available,
         -- Who becomes active starts at the clock of those who are: an idle user saves up nothing.
         virtual_time = case when q.available = 0 and q.running = 0
                             then greatest(q.virtual_time, s.virtual_time) else q.virtual_time end,
         hour_from = v_from[a.u][1], hour_used = v_used[a.u][1],
         day_from = v_from[a.u][2], day_used = v_used[a.u][2],
         month_from = v_from[a.u][3], month_used = v_used[a.u][3],
         full_until = v_starts[a.u], full_by = v_holders[a.u],
         full_for = array[v_limits[a.u][1], v_limits[a.u][2], v_limits[a.u][3]]
    from (select v_item_users[a.n] as u, count(*) filter (where v_states[a.n] = 'available') as available
            from unnest(v_accepted) a(n) group by 1) a
   cross join private.queue_state s
   where q.user_id = v_users[a.u];
  if v_known is not null then
    insert into private.idempotency_keys as k (user_id, idempotency_key, execution_id)
    select v_users[v_item_users[a.n]], idempotency_keys[a.n], v_ids[a.n]
      from unnest(v_accepted) a(n) where idempotency_keys[a.n] is not null
    on conflict (user_id, idempotency_key)
      do update set execution_id = excluded.execution_id, created_at = excluded.created_at;
  end if;
  if v_limited is not null then
    insert into private.flow_windows as w (flow_id, burst_from, burst_used, hour_from, hour_used, day_from, day_used)
    select v_limited[l.n], v_from[l.s][1], v_used[l.s][1], v_from[l.s][2], v_used[l.s][2], v_from[l.s][3], v_used[l.s][3]
      from (select l.n, cardinality(v_users) + l.n as s from generate_subscripts(v_limited, 1) l(n)) l
     where v_limited[l.n] = any (v_flows)
    on conflict (flow_id) do update
      set burst_from = excluded.burst_from, burst_used = excluded.burst_used, hour_from = excluded.hour_from,
          hour_used = excluded.hour_used, day_from = excluded.day_from, day_used = excluded.day_used;
  end if;
  if 'available' = any (v_states) then
    perform private.wake_workers();
  end if;
end
$$;
comment on function private.admit_executions(uuid[], jsonb[], text[], timestamptz[], integer[], text[], uuid) is
'Admits executions on behalf of the owners of their flows: limits, rows, wake-up, in one transaction. With an owner, flows of others are unknown.';

revoke execute on function private.check_enqueue_arguments(jsonb, text, timestamptz, integer, text) from public;
revoke execute on function private.admit_executions(uuid[], jsonb[], text[], timestamptz[], integer[], text[], uuid)
from public;
