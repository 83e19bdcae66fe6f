-- Log retention by tier. A partition that is past the retention of some tiers is copied without their rows, in bounded
-- steps beside all traffic, and exchanged for the copy in one transaction: rows go with a dropped table, never by delete.

create or replace function private.follow_rewrite() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_copy text := tg_table_name || '_rewrite';
  v_going text[];
begin
  if tg_op <> 'INSERT' then
    execute format('delete from partitions.%I c where c.execution_id = $1 and c.attempt = $2 and c.finished_at = $3', v_copy)
      using old.execution_id, old.attempt, old.finished_at;
  end if;
  select r.going into v_going from private.history_rewrites r where r.partition = tg_table_name;
  if tg_op <> 'DELETE' and (new.tier = any (v_going)) is not true then
    execute format('insert into partitions.%I select ($1).*', v_copy) using new;
  end if;
  return null;
end
$$;
comment on function private.follow_rewrite() is
'Trigger on a partition that is being copied: what is erased or changed in it is so in the copy as well.';

create or replace function private.begin_rewrite() returns private.history_rewrites
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_due record;
  v_rewrite private.history_rewrites;
begin
  select p.name, p.from_moment, p.to_moment, array_agg(t.tier order by t.tier) as tiers into v_due
    from private.partitions_of('execution_logs') p
    join public.subscription_tiers t on p.to_moment <= clock_timestamp() - make_interval(days => t.log_retention_days)
    left join private.history_rewrites r on r.partition = p.name
   -- Past the longest retention it is dropped as it is.
   where p.to_moment > clock_timestamp() - (select make_interval(days => max(l.log_retention_days))
                                              from public.subscription_tiers l)
   group by p.name, p.from_moment, p.to_moment, r.gone
  having not array_agg(t.tier) <@ coalesce(r.gone, '{}')
   order by p.from_moment
   limit 1;
  if not found then
    return null;
  end if;
  execute format('create table partitions.%I (like public.execution_logs
                    including defaults including constraints including indexes)', v_due.name || '_rewrite');
  execute format('alter table partitions.%I enable row level security', v_due.name || '_rewrite');
  -- The bounds as a check: attaching believes it, and does not read the table under its lock.
  execute format('alter table partitions.%I add constraint within_bounds check (finished_at >= %L and finished_at < %L)',
                 v_due.name || '_rewrite', v_due.from_moment, v_due.to_moment);
  execute format('create trigger follow_rewrite after insert or update or delete on partitions.%I
                    for each row execute function private.follow_rewrite()', v_due.name);
  insert into private.history_rewrites as r (partition, going) values (v_due.name, v_due.tiers)
  on conflict (partition) do update set going = excluded.going, next_block = 0, changed_at = clock_timestamp()
  returning * into v_rewrite;
  return v_rewrite;
end
$$;
comment on function private.begin_rewrite() is
'Begins the copy of the oldest partition that holds rows of tiers past their retention; null when there is none.';

create or replace function private.abandon_rewrite(partition text) returns void
language plpgsql
security definer
set search_path = ''
as $$
begin
  execute format('drop table if exists partitions.%I', partition || '_rewrite');
  if to_regclass(format('partitions.%I', partition)) is null then
    delete from private.history_rewrites r where r.partition = abandon_rewrite.partition;
  else
    execute format('drop trigger if exists follow_rewrite on partitions.%I', partition);
    update private.history_rewrites r set going = null, changed_at = clock_timestamp()
     where r.partition = abandon_rewrite.partition;
  end if;
end
$$;
comment on function private.abandon_rewrite(text) is 'Throws a copy away that cannot be finished; it is begun anew later.';

create or replace function private.columns_of(relation regclass) returns text[]
language sql
stable
set search_path = ''
as $$
  select array_agg(format('%s %s %s', a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull) order by a.attnum)
    from pg_catalog.pg_attribute a
   where a.attrelid = relation and a.attnum > 0 and not a.attisdropped
$$;
comment on function private.columns_of(regclass) is 'Names, types and nullability of a table''s columns, in order.';

create or replace function private.copy_history(budget interval, step_blocks integer default 256) returns jsonb
language plpgsql
security definer
set search_path = ''
set lock_timeout = '200ms'
as $$
declare
  v_until timestamptz := clock_timestamp() + budget;
  v_rewrite private.history_rewrites;
  v_blocks bigint;
  v_rows bigint;
  v_copied bigint := 0;
begin
  select * into v_rewrite from private.history_rewrites r where r.going is not null order by r.partition limit 1;
  if found and private.columns_of(to_regclass(format('partitions.%I', v_rewrite.partition || '_rewrite')))
               is distinct from private.columns_of(to_regclass(format('partitions.%I', v_rewrite.partition))) then
    -- The table was changed, or the partition dropped by hand.
    perform private.abandon_rewrite(v_rewrite.partition);
    v_rewrite := null;
  end if;
  if v_rewrite.partition is null then
    v_rewrite := private.begin_rewrite();
  end if;
  if v_rewrite.partition is null then
    return jsonb_build_object('partition', null, 'copied', 0);
  end if;

  -- Who changes rows of that partition waits for the end of this call; who reads it, or writes elsewhere, does not.
  execute format('lock table partitions.%I in share mode', v_rewrite.partition);
  v_blocks := private.blocks_of(v_rewrite.partition);
  while v_rewrite.next_block < v_blocks loop
    execute format('insert into partitions.%I select * from partitions.%I t
                     where t.ctid >= $1 and t.ctid < $2 and (t.tier = any ($3)) is not true
                    on conflict do nothing', v_rewrite.partition || '_rewrite', v_rewrite.partition)
      using format('(%s,0)', v_rewrite.next_block)::tid,
            format('(%s,0)', v_rewrite.next_block + step_blocks)::tid, v_rewrite.going;
    get diagnostics v_rows = row_count;
    v_copied := v_copied + v_rows;
    v_rewrite.next_block := v_rewrite.next_block + step_blocks;
    exit when clock_timestamp() >= v_until;
  end loop;
  update private.history_rewrites r set next_block = v_rewrite.next_block, changed_at = clock_timestamp()
   where r.partition = v_rewrite.partition;
  return jsonb_build_object('partition', v_rewrite.partition, 'copied', v_copied);
exception
  when lock_not_available then
    return jsonb_build_object('partition', v_rewrite.partition, 'copied', 0, 'postponed', true);
end
$$;
comment on function private.copy_history(interval, integer) is
'Goes on copying what stays of a partition, for as long as the budget says and at least one step of blocks.';

create or replace function private.blocks_of(partition text) returns bigint
language sql
stable
set search_path = ''
as $$
  select pg_relation_size(format('partitions.%I', partition)::regclass) / current_setting('block_size')::bigint
$$;
comment on function private.blocks_of(text) is 'How many blocks a partition has.';

create or replace function private.exchange_history() returns text
language plpgsql
security definer
set search_path = ''
set lock_timeout = '200ms'
as $$
declare
  v_rewrite private.history_rewrites;
  v_span record;
  v_any boolean;
begin
  select * into v_rewrite from private.history_rewrites r
   where r.going is not null and to_regclass(format('partitions.%I', r.partition)) is not null
     and r.next_block >= private.blocks_of(r.partition);
  if not found then
    return null;
  end if;
  execute 'lock table public.execution_logs in access exclusive mode';
  select * into v_span from private.partitions_of('execution_logs') p where p.name = v_rewrite.partition;
  execute format('alter table public.execution_logs detach partition partitions.%I', v_rewrite.partition);
  execute format('drop table partitions.%I', v_rewrite.partition);
  execute format('select exists (select 1 from partitions.%I)', v_rewrite.partition || '_rewrite') into v_any;
  if not v_any then
    execute format('drop table partitions.%I', v_rewrite.partition || '_rewrite');
    delete from private.history_rewrites r where r.partition = v_rewrite.partition;
    return v_rewrite.partition;
  end if;
  execute format('alter table partitions.%I rename to %I', v_rewrite.partition || '_rewrite', v_rewrite.partition);
  execute format('alter table public.execution_logs attach partition partitions.%I for values from (%L) to (%L)',
                 v_rewrite.partition, v_span.from_moment, v_span.to_moment);
  execute format('alter table partitions.%I drop constraint within_bounds', v_rewrite.partition);
  update private.history_rewrites r
     set gone = array(select distinct t.tier from unnest(r.gone || r.going) t(tier) order by 1), going = null, next_block = 0, changed_at = clock_timestamp()
   where r.partition = v_rewrite.partition;
  return v_rewrite.partition;
end
$$;
comment on function private.exchange_history() is
'Puts a finished copy in the place of its partition, which is dropped with the rows that were past their retention.';

revoke execute on function private.follow_rewrite() from public;
revoke execute on function private.begin_rewrite() from public;
revoke execute on function private.abandon_rewrite(text) from public;
revoke execute on function private.columns_of(regclass) from public;
revoke execute on function private.copy_history(interval, integer) from public;
revoke execute on function private.blocks_of(text) from public;
revoke execute on function private.exchange_history() from public;
