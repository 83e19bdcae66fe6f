-- Exceptions from the tier: they act at once, and go when they have ended.

create or replace function private.refresh_queue_rows(user_ids uuid[]) returns void
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform 1 from private.user_queue q where q.user_id = any (user_ids) order by q.user_id for update;
  update private.user_queue q
     set tier = e.tier, weight = e.weight, max_running = e.max_running, suspended = e.suspended
    from private.effective_limits e
   where q.user_id = any (user_ids) and e.user_id = q.user_id
     and (q.tier, q.weight, q.max_running, q.suspended)
         is distinct from (e.tier, e.weight, e.max_running, e.suspended);
end
$$;
comment on function private.refresh_queue_rows(uuid[]) is
'Writes into the queue''s rows of users what holds for them now, for the next claim.';

create or replace function private.apply_override_to_queue() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.refresh_queue_rows(array[coalesce(new.user_id, old.user_id)]);
  return null;
end
$$;
comment on function private.apply_override_to_queue() is 'Trigger: an exception, or its end, acts on the next claim.';

create or replace trigger apply_override_to_queue after insert or update or delete on public.user_limit_overrides
for each row execute function private.apply_override_to_queue();

create or replace function private.end_overrides() returns integer
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_users uuid[];
begin
  -- One that is being changed is left to the next call; whoever changes it holds it before the queue's row, as here.
  select array_agg(o.user_id) into v_users
    from (select o.user_id from public.user_limit_overrides o
           where o.ends_at <= clock_timestamp()
           order by o.user_id limit 1000 for update skip locked) o;
  if v_users is null then
    return 0;
  end if;
  -- All rows of the queue in order, before the trigger takes them one by one.
  perform 1 from private.user_queue q where q.user_id = any (v_users) order by q.user_id for update;
  delete from public.user_limit_overrides o where o.user_id = any (v_users);
  return cardinality(v_users);
end
$$;
comment on function private.end_overrides() is
'Removes exceptions that have ended, up to 1,000 in a call, so that weight and running limit of the tier act again. Call it while no other rows are held.';

revoke execute on function private.refresh_queue_rows(uuid[]) from public;
revoke execute on function private.apply_override_to_queue() from public;
revoke execute on function private.end_overrides() from public;
