-- Deletion: what runs is ended first, then the account goes, then its history, in bounded steps. Whichever door a user
-- is deleted through (Studio, the Auth API), nothing of them stays.

create or replace function private.note_erasure() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  -- The row of the user first, as everywhere: what is being settled is settled before the account goes.
  perform 1 from private.user_queue u where u.user_id = old.id for update;
  insert into private.erasures (user_id) values (old.id) on conflict do nothing;
  -- A digest, so that it can be told later whether a known id was deleted, and nothing else.
  perform private.record_activity('user.deleted', null, 'user', encode(sha256(convert_to(old.id::text, 'UTF8')), 'hex'), '{}');
  return old;
end
$$;
comment on function private.note_erasure() is 'Trigger: a deleted user''s history is to be erased, too.';

create or replace trigger note_erasure before delete on auth.users
for each row execute function private.note_erasure();

create or replace function private.erase_user(user_id uuid, most integer) returns integer
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_table text;
  v_rows integer;
  v_erased integer := 0;
begin
  -- History hangs on no account: every partitioned table with a user_id. The rest went with the account.
  for v_table in
    select c.relname from pg_catalog.pg_class c
      join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attname = 'user_id' and not a.attisdropped
     where c.relnamespace = 'public'::regnamespace and c.relkind = 'p' and c.relname <> 'user_activity_logs'
     order by c.relname
  loop
    execute format(
      'delete from public.%1$I t using (select o.tableoid, o.ctid from public.%1$I o where o.user_id = $1 limit $2) o
        where t.tableoid = o.tableoid and t.ctid = o.ctid', v_table)
      using erase_user.user_id, most - v_erased;
    get diagnostics v_rows = row_count;
    v_erased := v_erased + v_rows;
  end loop;
  -- The trail keeps that something was done and when, and loses who it was about. Its chain stands on what stays.
  update public.user_activity_logs l
     set user_id = null, actor_id = nullif(l.actor_id, erase_user.user_id), object_id = null, details = '{}',
         address = null, salt = null, erased_at = clock_timestamp()
    from (select o.id, o.occurred_at from public.user_activity_logs o
           where o.user_id = erase_user.user_id limit most - v_erased) o
   where l.id = o.id and l.occurred_at = o.occurred_at;
  get diagnostics v_rows = row_count;
  v_erased := v_erased + v_rows;
  if v_erased < most then
    delete from private.erasures e where e.user_id = erase_user.user_id;
  end if;
  return v_erased;
end
$$;
comment on function private.erase_user(uuid, integer) is
'Erases up to so many rows of the history of a user who is gone; the erasure is over when fewer were left.';

create or replace function private.erase_history(most integer) returns integer
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_user uuid;
  v_erased integer := 0;
begin
  while v_erased < most loop
    select e.user_id into v_user from private.erasures e order by e.requested_at limit 1 for update skip locked;
    exit when not found;
    v_erased := v_erased + private.erase_user(v_user, most - v_erased);
  end loop;
  return v_erased;
end
$$;
comment on function private.erase_history(integer) is 'Erases history of deleted users, the longest waiting first, in bounded steps.';

create or replace function private.finish_deletion() returns integer
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_user uuid;
begin
  -- Whoever asked for it may not have come back. One at a call, and never one whose row somebody holds.
  select p.user_id into v_user
    from public.user_profiles p
    left join private.user_queue u on u.user_id = p.user_id
   where p.deletion_requested_at is not null and coalesce(u.running, 0) = 0
   order by p.deletion_requested_at
   limit 1;
  if v_user is null then
    return 0;
  end if;
  perform 1 from private.user_queue u where u.user_id = v_user for update skip locked;
  if not found and exists (select 1 from private.user_queue u where u.user_id = v_user) then
    return 0;
  end if;
  delete from auth.users a where a.id = v_user;
  return 1;
end
$$;
comment on function private.finish_deletion() is
'Deletes the account of a user whose running calls have ended since the deletion was asked for; how many.';

create or replace function public.delete_user(user_id uuid, reason text) returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_batch constant integer := 10000;
  v_running integer;
  v_erased integer := 0;
begin
  perform private.require_permission('users.delete');
  -- A repeated call goes on where the last one stopped.
  if exists (select 1 from public.user_profiles p where p.user_id = delete_user.user_id) then
    perform private.begin_admin_action('users.delete', delete_user.user_id, reason);
    perform private.require_reason(reason);
    update public.user_profiles p set deletion_requested_at = clock_timestamp()
     where p.user_id = delete_user.user_id and p.deletion_requested_at is null;
    delete from auth.sessions a where a.user_id = delete_user.user_id;
    v_running := private.stop_running(delete_user.user_id);
    if v_running > 0 then
      return jsonb_build_object('state', 'ending', 'running', v_running, 'erased', 0);
    end if;
    delete from auth.users a where a.id = delete_user.user_id;
  elsif not exists (select 1 from private.erasures e where e.user_id = delete_user.user_id) then
    raise sqlstate 'PT404' using message = format('user_id: there is no user %s', delete_user.user_id),
      hint = 'A user who was deleted before is gone altogether.';
  end if;
  v_erased := private.erase_user(delete_user.user_id, v_batch);
  return jsonb_build_object('state', case when v_erased < v_batch then 'deleted' else 'erasing' end,
                            'running', 0, 'erased', v_erased);
end
$$;
comment on function public.delete_user(uuid, text) is
'Deletes a user for good. Call it again until state is deleted: ending waits for running calls, erasing goes on with the history. Export first. Needs users.delete.';

revoke execute on function private.note_erasure() from public;
revoke execute on function private.erase_user(uuid, integer) from public;
revoke execute on function private.erase_history(integer) from public;
revoke execute on function private.finish_deletion() from public;
revoke execute on function public.delete_user(uuid, text) from public, anon, authenticated, service_role;
grant execute on function public.delete_user(uuid, text) to authenticated, service_role;
