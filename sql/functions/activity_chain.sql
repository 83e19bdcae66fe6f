-- The chain over the trail: a row that is changed, taken out or put in between shows. Rows are chained in batches, so
-- that whoever records something waits for nobody.

create or replace function private.chain_activity(most integer) returns integer
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_head private.activity_chain;
  v_entry public.user_activity_logs;
  v_ids uuid[] := '{}';
  v_moments timestamptz[] := '{}';
  v_positions bigint[] := '{}';
  v_hashes bytea[] := '{}';
begin
  -- One at a time; who comes second finds it being done.
  if not pg_try_advisory_xact_lock(7305151, 3) then
    return 0;
  end if;
  select * into v_head from private.activity_chain;
  for v_entry in
    select * from public.user_activity_logs l where l.chain_position is null order by l.occurred_at, l.id limit most
  loop
    v_head.chain_position := v_head.chain_position + 1;
    v_head.hash := private.activity_hash(v_head.hash, v_head.chain_position, v_entry);
    v_ids := v_ids || v_entry.id;
    v_moments := v_moments || v_entry.occurred_at;
    v_positions := v_positions || v_head.chain_position;
    v_hashes := v_hashes || v_head.hash;
  end loop;
  if cardinality(v_ids) = 0 then
    return 0;
  end if;
  update public.user_activity_logs l
     set chain_position = c.chain_position, hash = c.hash
    from unnest(v_ids, v_moments, v_positions, v_hashes) c(id, occurred_at, chain_position, hash)
   where l.id = c.id and l.occurred_at = c.occurred_at;
  update private.activity_chain c set chain_position = v_head.chain_position, hash = v_head.hash;
  return cardinality(v_ids);
end
$$;
comment on function private.chain_activity(integer) is 'Gives rows of the trail their place in the chain, the oldest first.';

create or replace function private.move_activity_horizon(partition_name text) returns void
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_position bigint;
  v_hash bytea;
begin
  execute format('select l.chain_position, l.hash from partitions.%I l where l.chain_position is not null
                   order by l.chain_position desc limit 1', partition_name) into v_position, v_hash;
  update private.activity_chain c set horizon = v_position, horizon_hash = v_hash where c.horizon < v_position;
end
$$;
comment on function private.move_activity_horizon(text) is
'Before a partition of the trail is dropped: the chain is verified from its last position on.';

create or replace function public.verify_activity(after_position bigint default null, max integer default 1000)
returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_chain private.activity_chain;
  v_from bigint;
  v_from_hash bytea;
  v_checked record;
  v_broken jsonb;
begin
  perform private.require_permission('activity.verify');
  if max is null or max not between 1 and 10000 then
    raise sqlstate 'PT400' using message = format('max must be an integer from 1 to 10000, not %s', max);
  end if;
  if after_position is null then
    perform private.chain_activity(10000);
  end if;
  -- Nothing is chained between this look at the head and the one at the rows: that would look like a changed end.
  select * into v_chain from private.activity_chain for share;
  v_from := greatest(after_position, v_chain.horizon);
  if v_from = v_chain.horizon then
    v_from_hash := v_chain.horizon_hash;
  else
    select l.hash into v_from_hash from public.user_activity_logs l where l.chain_position = v_from;
    if not found then
      raise sqlstate 'PT404' using message = format('after_position: there is no position %s', v_from),
        hint = format('The chain reaches from %s to %s.', v_chain.horizon + 1, v_chain.chain_position);
    end if;
  end if;

  with entries as (
    select s.entry, lag(s.chain_position, 1, v_from) over chain as position_before,
           lag(s.hash, 1, v_from_hash) over chain as hash_before
      from (select l as entry, l.chain_position, l.hash from public.user_activity_logs l
             where l.chain_position > v_from order by l.chain_position limit max) s
    window chain as (order by s.chain_position)
  ),
  judged as (
    select (e.entry).*,
           case
             when (e.entry).chain_position <> e.position_before + 1 then 'a row before it is missing or double'
             when (e.entry).erased_at is null
                  and private.activity_content_hash(e.entry) is distinct from (e.entry).content_hash
               then 'its content was changed'
             when private.activity_hash(e.hash_before, (e.entry).chain_position, e.entry) is distinct from (e.entry).hash
               then 'the row, or the one before it, was changed'
           end as problem
      from entries e
  )
  select count(*) as n, max(j.chain_position) as last_position,
         (array_agg(j.hash order by j.chain_position desc))[1] as last_hash,
         count(j.erased_at) as erased,
         (select jsonb_build_object('position', b.chain_position, 'id', b.id, 'problem', b.problem)
            from judged b where b.problem is not null order by b.chain_position limit 1) as broken
    into v_checked
    from judged j;
  v_broken := v_checked.broken;
  if v_broken is null and v_checked.n < max
     and (coalesce(v_checked.last_position, v_from), coalesce(v_checked.last_hash, v_from_hash))
         is distinct from (v_chain.chain_position, v_chain.hash) then
    v_broken := jsonb_build_object('position', v_chain.chain_position, 'id', null,
                                   'problem', 'the end of the chain is missing or was changed');
  end if;
  return jsonb_build_object(
    'ok', v_broken is null, 'checked', v_checked.n, 'erased', v_checked.erased,
    'first_position', v_chain.horizon + 1,
    'last_position', coalesce(v_checked.last_position, v_from),
    'last_hash', encode(coalesce(v_checked.last_hash, v_from_hash), 'hex'),
    'broken', v_broken,
    'unchained', (select count(*) from (select 1 from public.user_activity_logs l where l.chain_position is null limit 100000) u),
    'done', v_broken is not null or v_checked.n < max);
end
$$;
comment on function public.verify_activity(bigint, integer) is
'Verifies a stretch of the trail''s chain; call it again with after_position = last_position until done. Needs activity.verify.';

revoke execute on function private.chain_activity(integer) from public;
revoke execute on function private.move_activity_horizon(text) from public;
revoke execute on function public.verify_activity(bigint, integer) from public, anon, authenticated, service_role;
grant execute on function public.verify_activity(bigint, integer) to authenticated, service_role;
