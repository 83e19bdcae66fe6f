-- Housekeeping: what has to go, goes in bounded steps, called by every worker every few minutes.

create or replace function private.prune_idempotency_keys(most integer) returns integer
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_pruned integer;
begin
  with old as (
    select k.user_id, k.idempotency_key from private.idempotency_keys k
     where k.created_at <= clock_timestamp() - interval '1 day'
     limit most for update skip locked
  )
  delete from private.idempotency_keys k using old o
   where k.user_id = o.user_id and k.idempotency_key = o.idempotency_key;
  get diagnostics v_pruned = row_count;
  return v_pruned;
end
$$;
comment on function private.prune_idempotency_keys(integer) is 'Forgets keys a day old.';

create or replace function private.prune_processors() returns integer
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_pruned integer;
begin
  delete from public.queue_processors p
   where p.last_heartbeat_at < clock_timestamp() - interval '1 day'
     and not exists (select 1 from public.flow_execution_queue q where q.state = 'running' and q.processor_id = p.id);
  get diagnostics v_pruned = row_count;
  return v_pruned;
end
$$;
comment on function private.prune_processors() is 'Forgets processors that were silent for a day.';

create or replace function public.maintain_queue() returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_done jsonb := jsonb_build_object('skipped', false);
begin
  -- One at a time; who comes second finds it being done.
  if not pg_try_advisory_xact_lock(7305151, 2) then
    return jsonb_build_object('skipped', true);
  end if;
  -- First what wants rows of users, in their order, while nothing else is held.
  v_done := v_done || jsonb_build_object('overrides_ended', private.end_overrides());
  v_done := v_done || jsonb_build_object('sign_ins_ended', private.end_sign_ins(1000));
  v_done := v_done || jsonb_build_object('idempotency_keys_pruned', private.prune_idempotency_keys(10000));
  v_done := v_done || jsonb_build_object('processors_pruned', private.prune_processors());
  v_done := v_done || jsonb_build_object('sessions_pruned', private.prune_sessions(5000));
  v_done := v_done || jsonb_build_object('deletions_finished', private.finish_deletion());
  v_done := v_done || jsonb_build_object('history_erased', private.erase_history(10000));
  v_done := v_done || jsonb_build_object('activity_chained', private.chain_activity(10000));
  v_done := v_done || jsonb_build_object('history_copied', private.copy_history(interval '1 second'));
  -- Last what locks whole tables, so that the transaction ends right after it.
  return v_done || jsonb_build_object('partitions', private.maintain_partitions());
end
$$;
comment on function public.maintain_queue() is
'Housekeeping in bounded steps: what has ended, is erased or past its retention goes, and partitions are made ahead. Safe to call often and from many. Service role only.';

revoke execute on function private.prune_idempotency_keys(integer) from public;
revoke execute on function private.prune_processors() from public;
revoke execute on function public.maintain_queue() from public, anon, authenticated, service_role;
grant execute on function public.maintain_queue() to service_role;
