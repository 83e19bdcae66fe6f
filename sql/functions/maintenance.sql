-- Partitions made ahead and dropped whole; small tables pruned in bounded steps.

create or replace function private.make_partition(parent text, from_moment timestamptz, period text) returns boolean
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_to timestamptz := from_moment + ('1 ' || period)::interval;
  v_name text := format('%s_%s', parent, to_char(from_moment at time zone 'UTC',
                                                 case period when 'day' then 'YYYYMMDD' else 'YYYYMM' end));
  v_column text;
begin
  if to_regclass(format('partitions.%I', v_name)) is not null then
    return false;
  end if;
  select a.attname into v_column
    from pg_catalog.pg_partitioned_table t
    join pg_catalog.pg_attribute a on a.attrelid = t.partrelid and a.attnum = t.partattrs[0]
   where t.partrelid = format('public.%I', parent)::regclass;
  execute format('create table partitions.%I (like public.%I including defaults including constraints)', v_name, parent);
  -- What landed in the default partition for want of this one moves over.
  execute format('with moved as (delete from partitions.%I d where d.%I >= $1 and d.%I < $2 returning *)
                  insert into partitions.%I select * from moved',
                 parent || '_default', v_column, v_column, v_name) using from_moment, v_to;
  execute format('alter table public.%I attach partition partitions.%I for values from (%L) to (%L)',
                 parent, v_name, from_moment, v_to);
  execute format('alter table partitions.%I enable row level security', v_name);
  return true;
end
$$;
comment on function private.make_partition(text, timestamptz, text) is
'Makes one partition of a public table, unexposed, and fills it from the default partition. False: it was there.';

create or replace function private.maintain_partitions() returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_policy private.partition_policies;
  v_moment timestamptz;
  v_keep interval;
  v_old record;
  v_made text[] := '{}';
  v_dropped text[] := '{}';
begin
  for v_policy in select * from private.partition_policies p order by p.parent loop
    -- From yesterday on: a processor's late row and a clock that jumped have a place.
    for v_moment in
      select date_trunc(v_policy.period, clock_timestamp() at time zone 'UTC') at time zone 'UTC'
             + (n || ' ' || v_policy.period)::interval
        from generate_series(-1, v_policy.periods_ahead) n
    loop
      if private.make_partition(v_policy.parent, v_moment, v_policy.period) then
        v_made := v_made || format('%s %s', v_policy.parent, v_moment::date);
      end if;
    end loop;

    v_keep := coalesce(v_policy.keep, (select make_interval(days => max(t.log_retention_days) + 1)
                                         from public.subscription_tiers t));
    for v_old in
      select c.relname, b.upper_bound
        from pg_catalog.pg_inherits h
        join pg_catalog.pg_class c on c.oid = h.inhrelid
       cross join lateral (
         select (regexp_match(pg_get_expr(c.relpartbound, c.oid), 'TO \(''([^'']+)''\)'))[1]::timestamptz as upper_bound) b
       where h.inhparent = format('public.%I', v_policy.parent)::regclass
         and b.upper_bound < clock_timestamp() - v_keep
    loop
      execute format('drop table partitions.%I', v_old.relname);
      v_dropped := v_dropped || v_old.relname::text;
    end loop;
  end loop;
  return jsonb_build_object('made', v_made, 'dropped', v_dropped);
end
$$;
comment on function private.maintain_partitions() is 'Makes partitions ahead and drops those past their retention.';

create or replace function public.maintain_queue() returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_partitions jsonb;
  v_keys integer;
  v_processors integer;
begin
  -- One at a time; who comes second finds it being done.
  if not pg_try_advisory_xact_lock(7305151, 2) then
    return jsonb_build_object('skipped', true);
  end if;
  v_partitions := private.maintain_partitions();

  with old as (
    select k.user_id, k.idempotency_key from private.idempotency_keys k
     where k.created_at <= clock_timestamp() - interval '1 day'
     limit 10000 for update skip locked
  )
  delete from private.idempotency_keys k using old o
   where k.user_id = o.user_id and k.idempotency_key = o.idempotency_key;
  get diagnostics v_keys = row_count;

  delete from public.queue_processors p
   where p.last_heartbeat_at < clock_timestamp() - interval '1 day'
     and not exists (select 1 from public.flow_execution_queue q where q.state = 'running' and q.processor_id = p.id);
  get diagnostics v_processors = row_count;

  return jsonb_build_object('skipped', false, 'partitions', v_partitions,
                            'idempotency_keys_pruned', v_keys, 'processors_pruned', v_processors);
end
$$;
comment on function public.maintain_queue() is
'Housekeeping: partitions, expired idempotency keys, processors that are gone. Safe to call often and from many. Service role only.';

revoke execute on function private.make_partition(text, timestamptz, text) from public;
revoke execute on function private.maintain_partitions() from public;
revoke execute on function public.maintain_queue() from public, anon, authenticated, service_role;
grant execute on function public.maintain_queue() to service_role;
