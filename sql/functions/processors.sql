-- Claimers: registration and heartbeats.

create or replace function public.register_queue_processor(
  processor_id text, host text, version text, max_in_flight integer
)
returns void
language plpgsql
security definer
set search_path = ''
as $$
begin
  if processor_id is null or length(processor_id) not between 1 and 200 then
    raise sqlstate 'PT400' using message = 'processor_id must be a text of 1 to 200 characters that names the claimer';
  elsif max_in_flight is null or max_in_flight < 1 then
    raise sqlstate 'PT400' using message = format('max_in_flight must be a positive integer, not %s', max_in_flight);
  end if;
  insert into public.queue_processors as p (id, host, version, max_in_flight)
  values (processor_id, left(host, 200), left(version, 100), register_queue_processor.max_in_flight)
  on conflict (id) do update
    set host = excluded.host, version = excluded.version, max_in_flight = excluded.max_in_flight,
        draining = false, started_at = clock_timestamp(), last_heartbeat_at = clock_timestamp();
end
$$;
comment on function public.register_queue_processor(text, text, text, integer) is 'Announces a claimer. Service role only.';

create or replace function public.heartbeat_flow_executions(
  processor_id text, lease_seconds integer, leases jsonb default null
)
returns table (execution_id uuid, attempt integer, answer text, cancel_requested boolean)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_leases jsonb := leases;
begin
  if processor_id is null then
    raise sqlstate 'PT400' using message = 'processor_id must be a text of 1 to 200 characters that names the claimer';
  elsif lease_seconds is null or lease_seconds not between 1 and 3600 then
    raise sqlstate 'PT400' using message = format('lease_seconds must be an integer from 1 to 3600, not %s', lease_seconds);
  end if;
  if v_leases is null then
    select coalesce(jsonb_agg(jsonb_build_object('execution_id', q.id, 'attempt', q.attempt, 'lease_token', q.lease_token)), '[]')
      into v_leases
      from public.flow_execution_queue q
     where q.state = 'running' and q.processor_id = heartbeat_flow_executions.processor_id;
  else
    v_leases := private.leases_as_results(leases, null);
    perform private.check_results(v_leases);
  end if;

  update public.queue_processors p
     set last_heartbeat_at = clock_timestamp(), in_flight = jsonb_array_length(v_leases)
   where p.id = heartbeat_flow_executions.processor_id;

  return query
  with items as materialized (
    select e.n, r.* from jsonb_array_elements(v_leases) with ordinality e(value, n)
     cross join lateral jsonb_to_record(e.value) r(execution_id uuid, attempt integer, lease_token uuid)
  ),
  held as materialized (
    -- In order of id. A row that is being ended right now is skipped: its lease is over either way.
    select q.id from public.flow_execution_queue q
      join items i on q.id = i.execution_id and q.attempt = i.attempt and q.lease_token = i.lease_token
     where q.state = 'running' and q.processor_id = heartbeat_flow_executions.processor_id
     order by q.id
       for no key update of q
  ),
  extended as (
    update public.flow_execution_queue q
       set lease_expires_at = clock_timestamp() + make_interval(secs => heartbeat_flow_executions.lease_seconds)
      from held h where q.id = h.id
    returning q.id, q.lease_token, q.cancel_requested_at is not null as cancel_requested
  )
  select i.execution_id, i.attempt, case when x.id is not null then 'extended' else 'lease_lost' end,
         coalesce(x.cancel_requested, false)
    from items i
    left join extended x on x.id = i.execution_id and x.lease_token = i.lease_token
   order by i.n;
end
$$;
comment on function public.heartbeat_flow_executions(text, integer, jsonb) is
'Extends leases of a processor in one call, and tells which are lost and which are to be cancelled. Service role only.';

revoke execute on function public.register_queue_processor(text, text, text, integer)
from public, anon, authenticated, service_role;
grant execute on function public.register_queue_processor(text, text, text, integer) to service_role;
revoke execute on function public.heartbeat_flow_executions(text, integer, jsonb)
from public, anon, authenticated, service_role;
grant execute on function public.heartbeat_flow_executions(text, integer, jsonb) to service_role;
