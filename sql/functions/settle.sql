-- Settling: the one place where an attempt ends, whatever ended it (finish, release, rescue).

create or replace function private.retry_delay(attempt integer, at_least_seconds numeric) returns interval
language sql
volatile
set search_path = ''
as $$
  -- Exponential with full jitter, and never sooner than the far side asked for.
  select make_interval(secs => greatest(
           coalesce(at_least_seconds, 0),
           random() * least(c.retry_cap_seconds, c.retry_base_seconds * power(2, least(greatest(attempt, 1), 20)))
         )::double precision)
    from public.load_balancer_config c
$$;
comment on function private.retry_delay(integer, numeric) is 'How long to wait before the next attempt.';

create or replace function private.settle_executions(results jsonb, only_expired boolean)
returns table (execution_id uuid, attempt integer, answer text, state text)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
begin
  -- Users first, in order of id: every verb that changes a running row holds the row of its user.
  perform 1 from private.user_queue u
    where u.user_id in (
            select q.user_id from public.flow_execution_queue q
             where q.id in (select (e.value ->> 'execution_id')::uuid from jsonb_array_elements(results) e(value)))
    order by u.user_id for update;
  -- Then the executions, in order of id: a heartbeat for the same batch takes them in the same order.
  perform 1 from public.flow_execution_queue q
    where q.id in (select (e.value ->> 'execution_id')::uuid from jsonb_array_elements(results) e(value))
    order by q.id for update;

  return query
  with items as materialized (
    select e.n, r.*, coalesce(r.error ->> 'category', case when r.outcome = 'failed' then 'unknown' end) as category
      from jsonb_array_elements(results) with ordinality e(value, n)
     cross join lateral jsonb_to_record(e.value) r(
       execution_id uuid, attempt integer, lease_token uuid, outcome text, result jsonb, error jsonb, retry boolean,
       retry_on text, retry_after_seconds numeric, spend_attempt boolean, user_error boolean, snooze_seconds numeric,
       usage jsonb, duration_ms numeric)
  ),
  -- The fence: only the attempt that holds the lease is ended. The same item twice in a batch counts once.
  held as materialized (
    select distinct on (q.id)
           q.*, i.n, i.outcome, i.result, i.error, i.category, coalesce(i.retry, true) as retry, i.retry_on,
           i.retry_after_seconds, coalesce(i.user_error, false) as user_error, i.snooze_seconds, i.usage, i.duration_ms,
           -- An attempt that did not run is given back, but not without end.
           coalesce(i.spend_attempt, true) or q.unspent_retries >= 50 as spends
      from items i
      join public.flow_execution_queue q
        on q.id = i.execution_id and q.attempt = i.attempt and q.lease_token = i.lease_token and q.state = 'running'
     where not only_expired or q.lease_expires_at <= clock_timestamp()
     order by q.id, i.n
  ),
  decided as materialized (
    select h.*,
           case
             when h.cancel_requested_at is not null then 'cancelled'
             when h.outcome = 'succeeded' then 'succeeded'
             when h.outcome = 'released' then 'available'
             when h.outcome = 'snoozed' then 'scheduled'
             when not h.retry and h.user_error then 'failed'
             when not h.retry or (h.spends and h.attempt >= h.max_attempts) then 'dead'
             when only_expired then 'available'
             else 'scheduled'
           end as next_state
      from held h
  ),
  logged as (
    insert into public.execution_logs
      (execution_id, attempt, user_id, tier, flow_id, flow_name, flow_kind, flow_version, outcome, is_final, category,
       error, input, result, usage, priority, instance_id, instance_name, processor_id, lease_token, origin_id,
       queued_at, started_at, duration_ms)
    select d.id, d.attempt, d.user_id, u.tier, d.flow_id, f.name, f.kind, d.flow_version,
           case when d.next_state in ('scheduled', 'available') then 'failed' else d.next_state end,
           d.next_state not in ('scheduled', 'available'), d.category,
           d.error, case when d.next_state not in ('scheduled', 'available') then d.input end, d.result, d.usage,
           d.priority, d.instance_id, i.name, d.processor_id, d.lease_token, d.origin_id,
           d.queued_at, d.started_at, d.duration_ms::integer
      from decided d
      join private.user_queue u on u.user_id = d.user_id
      join public.flows f on f.id = d.flow_id
      left join public.apps_script_instances i on i.id = d.instance_id
     -- One row per attempt; one that was given back untried is none.
     where d.next_state not in ('scheduled', 'available') or d.outcome = 'failed'
  ),
  died as (
    insert into public.dead_letters
      (execution_id, user_id, flow_id, flow_name, flow_version, input, attempts, category, first_error, last_error,
       origin_id, queued_at)
    select d.id, d.user_id, d.flow_id, f.name, d.flow_version, d.input, d.attempt, d.category,
           coalesce(d.first_error, d.error), d.error, d.origin_id, d.queued_at
      from decided d
      join public.flows f on f.id = d.flow_id
     where d.next_state = 'dead'
    on conflict do nothing
  ),
  ended as (
    delete from public.flow_execution_queue q
     using decided d
     where q.id = d.id and d.next_state not in ('scheduled', 'available')
  ),
  returned as (
    update public.flow_execution_queue q
       set state = d.next_state,
           attempt = case when d.outcome in ('released', 'snoozed') or not d.spends then q.attempt - 1 else q.attempt end,
           unspent_retries = q.unspent_retries + case when d.outcome = 'failed' and not d.spends then 1 else 0 end,
           run_at = case
                      when d.outcome = 'snoozed'
                        then clock_timestamp() + make_interval(secs => coalesce(d.snooze_seconds, 0)::double precision)
                      when d.next_state = 'scheduled'
                        then clock_timestamp() + private.retry_delay(q.attempt, d.retry_after_seconds)
                      else q.run_at
                    end,
           previous_lease_token = case when not only_expired then q.lease_token end,
           lease_token = null, lease_expires_at = null,
           instance_id = null, processor_id = null, started_at = null,
           -- Only the instance where it may have run can tell whether it did.
           pinned_instance_id = case when d.outcome = 'failed'
                                     then case when d.retry_on = 'same' then q.instance_id end
                                     else q.pinned_instance_id end,
           avoided_instance_id = case when d.outcome = 'failed' and d.retry_on in ('another', 'another_owner')
                                      then q.instance_id end,
           avoided_owner = case when d.outcome = 'failed' and d.retry_on = 'another_owner'
                                then (select i.owner from public.apps_script_instances i where i.id = q.instance_id) end,
           first_error = case when d.outcome = 'failed' then coalesce(q.first_error, d.error) else q.first_error end,
           last_error = case when d.outcome = 'failed' then d.error else q.last_error end
      from decided d
     where q.id = d.id and d.next_state in ('scheduled', 'available')
  ),
  freed as (
    -- One running less: the user's next execution can be claimed.
    update private.user_queue u
       set running = u.running - n.n, available = u.available + n.available
      from (select d.user_id, count(*)::integer as n,
                   (count(*) filter (where d.next_state = 'available'))::integer as available
              from decided d group by d.user_id) n
     where u.user_id = n.user_id
  )
  select i.execution_id, i.attempt,
         case
           when d.id is not null then 'accepted'
           -- The same token, ended before: the answer to a call that was repeated. One that was rescued is late instead.
           when exists (select 1 from public.execution_logs l
                         where l.execution_id = i.execution_id and l.lease_token = i.lease_token
                           and l.category is distinct from 'lease_expired'
                           and l.finished_at >= private.execution_id_time(i.execution_id) - interval '1 minute')
             or exists (select 1 from public.flow_execution_queue q
                         where q.id = i.execution_id and q.previous_lease_token = i.lease_token)
             then 'already_done'
           else 'lease_lost'
         end,
         d.next_state
    from items i
    left join decided d on d.id = i.execution_id and d.lease_token = i.lease_token
   order by i.n;
end
$$;
comment on function private.settle_executions(jsonb, boolean) is
'Ends attempts behind the fence (id, attempt, lease_token, running): history, dead letter, retry, and the user''s counters, in one statement.';

create or replace function private.check_results(results jsonb) returns void
language plpgsql
immutable
set search_path = ''
as $$
declare
  v_bad record;
begin
  -- The API shows 1,000 rows of an answer (max-rows of a hosted project), and every item wants its answer.
  if results is null or jsonb_typeof(results) <> 'array' or jsonb_array_length(results) > 1000 then
    raise sqlstate 'PT400' using message = 'results must be a list of at most 1000 items',
      hint = 'Each is {"execution_id", "attempt", "lease_token", "outcome", ...}.';
  end if;
  select e.n - 1 as n, p.problem into v_bad
    from jsonb_array_elements(results) with ordinality e(value, n)
   cross join lateral (
     select case
       when jsonb_typeof(e.value) <> 'object' then 'must be an object'
       when coalesce(e.value ->> 'execution_id', '') !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
         then 'execution_id must be a uuid'
       when coalesce(e.value ->> 'lease_token', '') !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
         then 'lease_token must be a uuid'
       when not private.is_integer_between(coalesce(e.value -> 'attempt', 'null'), 0, 1000000)
         then 'attempt must be an integer'
       when coalesce(e.value ->> 'outcome', '') not in ('succeeded', 'failed', 'released', 'snoozed')
         then 'outcome must be succeeded, failed, released or snoozed'
       when coalesce(e.value ->> 'retry_on', 'any') not in ('same', 'another', 'another_owner', 'any')
         then 'retry_on must be same, another, another_owner or any'
       when jsonb_typeof(coalesce(e.value -> 'error', '{}')) not in ('object', 'null')
         then 'error must be an object {"category", "code", "message", "step", "ran"}'
       when not private.is_number_between(e.value -> 'retry_after_seconds', 0, 2592000)
         then 'retry_after_seconds must be a number from 0 to 2592000'
       when not private.is_number_between(e.value -> 'snooze_seconds', 0, 31622400)
         then 'snooze_seconds must be a number from 0 to 31622400'
       when not private.is_number_between(e.value -> 'duration_ms', 0, 2147483647)
         then 'duration_ms must be a number from 0 to 2147483647'
       when exists (select 1 from unnest(array['retry', 'spend_attempt', 'user_error']) b(field)
                     where jsonb_typeof(coalesce(e.value -> b.field, 'null')) not in ('boolean', 'null'))
         then 'retry, spend_attempt and user_error must be true or false'
       when pg_column_size(e.value -> 'result') > 1048576
         then 'result is larger than 1 MB'
     end as problem) p
   where p.problem is not null
   order by e.n limit 1;
  if found then
    raise sqlstate 'PT400' using message = format('results[%s]: %s', v_bad.n, v_bad.problem),
      hint = 'Nothing was changed. Correct the item and send the batch again.';
  end if;
end
$$;
comment on function private.check_results(jsonb) is 'Refuses a malformed batch as a whole, naming the item and the field.';

create or replace function private.is_number_between(value jsonb, lowest numeric, highest numeric) returns boolean
language sql
immutable
set search_path = ''
as $$
  select case coalesce(jsonb_typeof(value), 'null')
           when 'null' then true
           when 'number' then value::numeric between lowest and highest
           else false end
$$;
comment on function private.is_number_between(jsonb, numeric, numeric) is 'Whether a JSON value is absent, null or a number in a range.';

create or replace function private.leases_as_results(leases jsonb, reason text) returns jsonb
language sql
immutable
set search_path = ''
as $$
  -- A lease is a result without an outcome; what is malformed stays so, for check_results to name it.
  select case when jsonb_typeof(leases) = 'array' then (
           select coalesce(jsonb_agg(
                    case when jsonb_typeof(l.value) = 'object'
                         then jsonb_build_object(
                                'execution_id', l.value -> 'execution_id', 'attempt', l.value -> 'attempt',
                                'lease_token', l.value -> 'lease_token', 'outcome', 'released',
                                'error', jsonb_build_object('category', 'released', 'message', left(reason, 200)))
                         else l.value end order by l.n), '[]')
             from jsonb_array_elements(leases) with ordinality l(value, n)) end
$$;
comment on function private.leases_as_results(jsonb, text) is 'Leases in the shape of results that release them.';

create or replace function public.finish_flow_executions(results jsonb)
returns table (execution_id uuid, attempt integer, answer text, state text)
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.check_results(results);
  return query select s.* from private.settle_executions(results, false) s;
end
$$;
comment on function public.finish_flow_executions(jsonb) is
'Ends a batch of attempts. Per item: accepted, already_done (a repeated call), or lease_lost. Service role only.';

create or replace function public.release_flow_executions(leases jsonb, reason text default null)
returns table (execution_id uuid, attempt integer, answer text, state text)
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_results jsonb := private.leases_as_results(leases, reason);
begin
  perform private.check_results(v_results);
  return query select s.* from private.settle_executions(v_results, false) s;
end
$$;
comment on function public.release_flow_executions(jsonb, text) is
'Gives leases back unused; the attempt is not spent. Service role only.';

create or replace function public.rescue_expired_executions(max integer default 500)
returns table (execution_id uuid, attempt integer, state text)
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_expired jsonb;
begin
  if max is null or max not between 1 and 1000 then
    raise sqlstate 'PT400' using message = format('max must be an integer from 1 to 1000, not %s', max);
  end if;
  select jsonb_agg(jsonb_build_object(
           'execution_id', e.id, 'attempt', e.attempt, 'lease_token', e.lease_token, 'outcome', 'failed',
           'retry_on', 'same', 'error', jsonb_build_object(
             'category', 'lease_expired', 'ran', 'unknown',
             'message', 'the processor ' || e.processor_id || ' stopped extending the lease')))
    into v_expired
    from (select q.id, q.attempt, q.lease_token, q.processor_id
            from public.flow_execution_queue q
           where q.state = 'running' and q.lease_expires_at <= clock_timestamp()
           order by q.lease_expires_at
           limit max) e;
  if v_expired is null then
    -- Every few seconds, and no other row is held here.
    perform private.end_overrides();
    return;
  end if;
  return query
    select s.execution_id, s.attempt, s.state
      from private.settle_executions(v_expired, true) s where s.answer = 'accepted';
  perform private.wake_workers();
end
$$;
comment on function public.rescue_expired_executions(integer) is
'Returns executions whose lease has run out to the queue, bound to the instance where they may have run. Service role only.';

revoke execute on function private.retry_delay(integer, numeric) from public;
revoke execute on function private.settle_executions(jsonb, boolean) from public;
revoke execute on function private.check_results(jsonb) from public;
revoke execute on function private.leases_as_results(jsonb, text) from public;
revoke execute on function private.is_number_between(jsonb, numeric, numeric) from public;
revoke execute on function public.finish_flow_executions(jsonb) from public, anon, authenticated, service_role;
grant execute on function public.finish_flow_executions(jsonb) to service_role;
revoke execute on function public.release_flow_executions(jsonb, text) from public, anon, authenticated, service_role;
grant execute on function public.release_flow_executions(jsonb, text) to service_role;
revoke execute on function public.rescue_expired_executions(integer) from public, anon, authenticated, service_role;
grant execute on function public.rescue_expired_executions(integer) to service_role;
