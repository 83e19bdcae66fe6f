-- What administrative functions share: whose account it is, who may act on it, and why it was done.

create or replace function private.begin_admin_action(permission text, user_id uuid, reason text) returns void
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_ranks constant text[] := array['user', 'support', 'admin', 'owner'];
  v_target text;
  v_own text;
begin
  perform private.require_permission(permission);
  select p.role into v_target from public.user_profiles p where p.user_id = begin_admin_action.user_id;
  if not found then
    raise sqlstate 'PT404' using message = format('user_id: there is no user %s', begin_admin_action.user_id),
      hint = 'List the users to find the id.';
  end if;
  if not private.is_service() then
    select p.role into v_own from public.user_profiles p where p.user_id = auth.uid();
    if array_position(v_ranks, v_target) > array_position(v_ranks, v_own) then
      raise sqlstate 'PT403' using message = format('user_id: the user is %s, which is above your own role %s', v_target, v_own),
        hint = 'Ask an owner of this project.';
    end if;
  end if;
  if length(reason) > 500 then
    raise sqlstate 'PT400' using message = format('reason has %s characters; at most 500 are kept', length(reason));
  end if;
  -- The trail's trigger reads it from here.
  perform set_config('flowstate.reason', coalesce(reason, ''), true);
end
$$;
comment on function private.begin_admin_action(text, uuid, text) is
'The gate of every administrative function: permission, an existing user of no higher role, and the reason for the trail.';

create or replace function private.require_reason(reason text) returns void
language plpgsql
immutable
set search_path = ''
as $$
begin
  if nullif(trim(reason), '') is null then
    raise sqlstate 'PT400' using message = 'reason must say why, in 1 to 500 characters',
      hint = 'It is kept in the trail, for example: ticket 4711.';
  end if;
end
$$;
comment on function private.require_reason(text) is 'Refuses an action on somebody''s account for which no reason is given.';

create or replace function private.user_state(profile public.user_profiles) returns text
language sql
immutable
set search_path = ''
as $$
  select case when profile.deletion_requested_at is not null then 'deleting'
              when profile.suspended_at is not null then 'suspended'
              else 'active' end
$$;
comment on function private.user_state(public.user_profiles) is 'active, suspended or deleting.';

create or replace function private.user_summary(user_id uuid) returns jsonb
language sql
stable
security definer
set search_path = ''
as $$
  select jsonb_build_object(
           'user_id', p.user_id, 'email', a.email, 'display_name', p.display_name, 'tier', p.tier, 'role', p.role,
           'state', private.user_state(p), 'suspended_at', p.suspended_at, 'created_at', p.created_at,
           'last_sign_in_at', a.last_sign_in_at,
           'limits', jsonb_build_object(
             'hour_limit', e.hour_limit, 'day_limit', e.day_limit, 'month_limit', e.month_limit,
             'weight', e.weight, 'max_running', e.max_running),
           'override', (select to_jsonb(o) - 'user_id' from public.user_limit_overrides o
                         where o.user_id = p.user_id and o.ends_at > clock_timestamp()))
    from public.user_profiles p
    join auth.users a on a.id = p.user_id
    join private.effective_limits e on e.user_id = p.user_id
   where p.user_id = user_summary.user_id
$$;
comment on function private.user_summary(uuid) is 'A user as administrators see them: account, state, the limits that hold.';

create or replace function private.keep_an_owner() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  if old.role <> 'owner' or private.user_state(old) <> 'active'
     or (tg_op = 'UPDATE' and new.role = 'owner' and private.user_state(new) = 'active') then
    return coalesce(new, old);
  end if;
  -- One at a time, so that two owners cannot remove each other at once.
  perform pg_advisory_xact_lock(7305151, 4);
  if not exists (select 1 from public.user_profiles p
                  where p.role = 'owner' and p.user_id <> old.user_id
                    and p.suspended_at is null and p.deletion_requested_at is null) then
    raise sqlstate 'PT409' using message = format('user_id: %s is the last owner of this project', old.user_id),
      hint = 'Make somebody else an owner first.';
  end if;
  return coalesce(new, old);
end
$$;
comment on function private.keep_an_owner() is 'Trigger: a project that has an owner keeps one.';

create or replace trigger keep_an_owner before update or delete on public.user_profiles
for each row execute function private.keep_an_owner();

revoke execute on function private.begin_admin_action(text, uuid, text) from public;
revoke execute on function private.require_reason(text) from public;
revoke execute on function private.user_state(public.user_profiles) from public;
revoke execute on function private.user_summary(uuid) from public;
revoke execute on function private.keep_an_owner() from public;
