-- Partitions are made ahead and dropped whole. Whatever takes a lock on a table that is in use gives way after 200 ms
-- (nobody waits longer than that for housekeeping) and is done by a later call.

create or replace function private.partitions_of(parent text)
returns table (name text, from_moment timestamptz, to_moment timestamptz)
language sql
stable
set search_path = ''
as $$
  select c.relname::text, b.bounds[1]::timestamptz, b.bounds[2]::timestamptz
    from pg_catalog.pg_inherits h
    join pg_catalog.pg_class c on c.oid = h.inhrelid
   cross join lateral regexp_match(pg_get_expr(c.relpartbound, c.oid), 'FROM \(''([^'']+)''\) TO \(''([^'']+)''\)') b(bounds)
   where h.inhparent = format('public.%I', parent)::regclass and b.bounds is not null
   order by 2
$$;
comment on function private.partitions_of(text) is 'Partitions of a public table with their bounds, the oldest first; without the default one.';

create or replace function private.make_partition(parent text, from_moment timestamptz, to_moment timestamptz)
returns void
language plpgsql
security definer
set search_path = ''
set lock_timeout = '200ms'
as $$
declare
  v_name text := format('%s_%s', parent, to_char(from_moment at time zone 'UTC', 'YYYYMMDD'));
  v_column text;
begin
  select a.attname into v_column
    from pg_catalog.pg_partitioned_table t
    join pg_catalog.pg_attribute a on a.attrelid = t.partrelid and a.attnum = t.partattrs[0]
   where t.partrelid = format('public.%I', parent)::regclass;
  execute format('create table partitions.%I (like public.%I including defaults including constraints)', v_name, parent);
  execute format('alter table partitions.%I enable row level security', v_name);
  -- What landed in the default partition for want of this one moves over. Nothing may land there in between.
  execute format('lock table public.%I in share update exclusive mode', parent);
  execute format('lock table partitions.%I in access exclusive mode', parent || '_default');
  execute format('with moved as (delete from partitions.%1$I d where d.%2$I >= $1 and d.%2$I < $2 returning *)
                  insert into partitions.%3$I select * from moved',
                 parent || '_default', v_column, v_name) using from_moment, to_moment;
  execute format('alter table public.%I attach partition partitions.%I for values from (%L) to (%L)',
                 parent, v_name, from_moment, to_moment);
end
$$;
comment on function private.make_partition(text, timestamptz, timestamptz) is
'Makes one partition of a public table, unexposed, and fills it from the default partition.';

create or replace function private.drop_partition(parent text, name text) returns void
language plpgsql
security definer
set search_path = ''
set lock_timeout = '200ms'
as $$
begin
  if parent = 'user_activity_logs' then
    perform private.move_activity_horizon(name);
  elsif parent = 'execution_logs' then
    execute format('drop table if exists partitions.%I', name || '_rewrite');
    delete from private.history_rewrites r where r.partition = name;
  end if;
  execute format('drop table partitions.%I', name);
end
$$;
comment on function private.drop_partition(text, text) is 'Drops a partition, and what is noted about it.';

create or replace function private.partition_gaps(policy private.partition_policies)
returns table (from_moment timestamptz, to_moment timestamptz)
language sql
stable
set search_path = ''
as $$
  -- From the period before this one on: a processor's late row and a clock that jumped have a place. Where the period of
  -- a table was changed, partitions of another length stand there already, and only what they leave is missing.
  with covered as (
    select coalesce(range_agg(tstzrange(p.from_moment, p.to_moment)), '{}') as spans
      from private.partitions_of(policy.parent) p
  ),
  due as (
    select date_trunc(policy.period, clock_timestamp() at time zone 'UTC') + n * ('1 ' || policy.period)::interval as begins_at
      from generate_series(-1, policy.periods_ahead) n
  )
  select lower(g.gap), upper(g.gap)
    from due d
   cross join covered c
   cross join lateral unnest(
     tstzmultirange(tstzrange(d.begins_at at time zone 'UTC',
                              (d.begins_at + ('1 ' || policy.period)::interval) at time zone 'UTC')) - c.spans) g(gap)
   order by 1
$$;
comment on function private.partition_gaps(private.partition_policies) is 'Spans for which a partition should be there, and is not.';

create or replace function private.maintain_partitions() returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_policy private.partition_policies;
  v_span record;
  v_keep interval;
  v_rewritten text;
  v_made text[] := '{}';
  v_dropped text[] := '{}';
  v_postponed text[] := '{}';
begin
  begin
    v_rewritten := private.exchange_history();
  exception
    when lock_not_available then
      v_postponed := v_postponed || 'execution_logs'::text;
  end;
  for v_policy in select * from private.partition_policies p order by p.parent loop
    for v_span in select * from private.partition_gaps(v_policy) loop
      begin
        perform private.make_partition(v_policy.parent, v_span.from_moment, v_span.to_moment);
        v_made := v_made || format('%s %s', v_policy.parent, (v_span.from_moment at time zone 'UTC')::date);
      exception
        when lock_not_available then
          v_postponed := v_postponed || v_policy.parent;
      end;
    end loop;

    v_keep := coalesce(v_policy.keep, (select make_interval(days => max(t.log_retention_days))
                                         from public.subscription_tiers t));
    for v_span in
      select p.name from private.partitions_of(v_policy.parent) p where p.to_moment <= clock_timestamp() - v_keep
    loop
      begin
        perform private.drop_partition(v_policy.parent, v_span.name);
        v_dropped := v_dropped || v_span.name::text;
      exception
        when lock_not_available then
          v_postponed := v_postponed || v_span.name::text;
      end;
    end loop;
  end loop;
  return jsonb_build_object('made', v_made, 'dropped', v_dropped, 'rewritten', v_rewritten, 'postponed', v_postponed);
end
$$;
comment on function private.maintain_partitions() is
'Makes partitions ahead, puts a finished copy in its place, drops what is past its retention; postponed: others use it.';

revoke execute on function private.partitions_of(text) from public;
revoke execute on function private.make_partition(text, timestamptz, timestamptz) from public;
revoke execute on function private.drop_partition(text, text) from public;
revoke execute on function private.partition_gaps(private.partition_policies) from public;
revoke execute on function private.maintain_partitions() from public;
