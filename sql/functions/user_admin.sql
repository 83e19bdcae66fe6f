-- What staff changes about a user: tier, role, exceptions, suspension. Each change acts on the next call of the user.

create or replace function public.set_user_tier(user_id uuid, tier text, reason text default null) returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_variable
begin
  perform private.begin_admin_action('users.set_tier', user_id, reason);
  if not exists (select 1 from public.subscription_tiers t where t.tier = set_user_tier.tier) then
    raise sqlstate 'PT400' using message = format('tier: there is no tier %s', coalesce(quote_literal(private.plain(tier, 40)), 'null')),
      hint = 'There are: ' || (select string_agg(t.tier, ', ' order by t.tier) from public.subscription_tiers t);
  end if;
  update public.user_profiles p set tier = set_user_tier.tier where p.user_id = set_user_tier.user_id;
  return private.user_summary(user_id);
end
$$;
comment on function public.set_user_tier(uuid, text, text) is 'Moves a user to a tier; it acts on the next call. Needs users.set_tier.';

create or replace function public.set_user_role(user_id uuid, role text, reason text default null) returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_variable
begin
  perform private.begin_admin_action('users.set_role', user_id, reason);
  if role is null or role not in ('user', 'support', 'admin', 'owner') then
    raise sqlstate 'PT400' using message = format('role must be user, support, admin or owner, not %s',
                                                  coalesce(quote_literal(private.plain(role, 40)), 'null'));
  end if;
  update public.user_profiles p set role = set_user_role.role where p.user_id = set_user_role.user_id;
  return private.user_summary(user_id);
end
$$;
comment on function public.set_user_role(uuid, text, text) is 'Gives a user a role. Needs users.set_role; a project keeps an owner.';

create or replace function private.check_limits(limits jsonb, allowed jsonb) returns void
language plpgsql
immutable
set search_path = ''
as $$
declare
  v_bad record;
begin
  if limits is null or jsonb_typeof(limits) <> 'object' or limits = '{}' then
    raise sqlstate 'PT400' using message = 'limits must be a JSON object with at least one limit',
      hint = 'For example {"hour_limit": 50, "day_limit": null}; null means unlimited.';
  end if;
  select l.key, l.value, allowed -> l.key as range into v_bad
    from jsonb_each(limits) l
   where not allowed ? l.key
      or case when l.value = 'null' then not (allowed -> l.key ->> 2)::boolean
              else not private.is_integer_between(
                     l.value, (allowed -> l.key ->> 0)::bigint, (allowed -> l.key ->> 1)::bigint) end
   order by l.key limit 1;
  if v_bad.range is not null then
    raise sqlstate 'PT400' using message = format(
      'limits.%s must be an integer from %s to %s%s, not %s', v_bad.key, v_bad.range ->> 0, v_bad.range ->> 1,
      case when (v_bad.range ->> 2)::boolean then ', or null for unlimited' else '' end, left(v_bad.value::text, 40)),
      hint = 'Nothing was changed.';
  elsif v_bad.key is not null then
    raise sqlstate 'PT400' using message = format('limits.%s is not a limit', private.plain(v_bad.key, 40)),
      hint = 'There are: ' || (select string_agg(k.key, ', ' order by k.key) from jsonb_object_keys(allowed) k(key));
  end if;
end
$$;
comment on function private.check_limits(jsonb, jsonb) is
'Refuses limits that are unknown or out of range. allowed: {"name": [lowest, highest, may be null]}.';

create or replace function private.override_ranges() returns jsonb
language sql
immutable
set search_path = ''
as $$
  select '{"hour_limit": [1, 1000000, true], "day_limit": [1, 10000000, true], "month_limit": [1, 100000000, true],
           "weight": [1, 1000, false], "max_running": [1, 1000, false]}'::jsonb
$$;
comment on function private.override_ranges() is 'Which limits one user may have an exception from, and their ranges.';

create or replace function public.set_user_override(user_id uuid, limits jsonb, ends_at timestamptz, reason text)
returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_variable
begin
  perform private.begin_admin_action('users.override', user_id, reason);
  perform private.require_reason(reason);
  perform private.check_limits(limits, private.override_ranges());
  if ends_at is null or not isfinite(ends_at) or ends_at <= clock_timestamp() then
    raise sqlstate 'PT400' using message = format('ends_at must be a moment in the future, not %s', coalesce(ends_at::text, 'null')),
      hint = 'Nothing was changed. An exception without an end is a tier.';
  elsif ends_at > clock_timestamp() + interval '3660 days' then
    raise sqlstate 'PT400' using message = 'ends_at must be at most ten years ahead', hint = 'Nothing was changed.';
  end if;
  insert into public.user_limit_overrides as o
    (user_id, hour_limit, day_limit, month_limit, weight, max_running, unlimited, reason, ends_at)
  select user_id, r.hour_limit, r.day_limit, r.month_limit, r.weight, r.max_running,
         array(select l.key from jsonb_each(limits) l where l.value = 'null' order by l.key), reason, ends_at
    from jsonb_to_record(limits)
         r(hour_limit integer, day_limit integer, month_limit integer, weight integer, max_running integer)
  on conflict on constraint user_limit_overrides_pkey do update
    set hour_limit = excluded.hour_limit, day_limit = excluded.day_limit, month_limit = excluded.month_limit,
        weight = excluded.weight, max_running = excluded.max_running, unlimited = excluded.unlimited,
        reason = excluded.reason, ends_at = excluded.ends_at, updated_at = now();
  return private.user_summary(user_id);
end
$$;
comment on function public.set_user_override(uuid, jsonb, timestamptz, text) is
'Makes an exception from the tier for one user until a moment; it replaces an earlier one. Needs users.override.';

create or replace function public.clear_user_override(user_id uuid, reason text default null) returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.begin_admin_action('users.override', clear_user_override.user_id, reason);
  delete from public.user_limit_overrides o where o.user_id = clear_user_override.user_id;
  if not found then
    raise sqlstate 'PT404' using message = format('user_id: %s has no exception', clear_user_override.user_id);
  end if;
  return private.user_summary(clear_user_override.user_id);
end
$$;
comment on function public.clear_user_override(uuid, text) is 'Ends a user''s exception: the tier holds again. Needs users.override.';

create or replace function private.stop_running(user_id uuid) returns integer
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_running integer;
begin
  -- The user first, then the executions in order, as everywhere.
  perform 1 from private.user_queue u where u.user_id = stop_running.user_id for update;
  perform 1 from public.flow_execution_queue q
    where q.user_id = stop_running.user_id and q.state = 'running' order by q.id for update;
  update public.flow_execution_queue q set cancel_requested_at = coalesce(q.cancel_requested_at, clock_timestamp())
   where q.user_id = stop_running.user_id and q.state = 'running';
  get diagnostics v_running = row_count;
  return v_running;
end
$$;
comment on function private.stop_running(uuid) is
'Asks for all running executions of a user to end: their processors hear of it with the next heartbeat.';

create or replace function public.suspend_user(user_id uuid, reason text) returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_stopping integer;
begin
  perform private.begin_admin_action('users.suspend', suspend_user.user_id, reason);
  perform private.require_reason(reason);
  update public.user_profiles p set suspended_at = clock_timestamp()
   where p.user_id = suspend_user.user_id and p.suspended_at is null;
  v_stopping := private.stop_running(suspend_user.user_id);
  return private.user_summary(suspend_user.user_id) || jsonb_build_object('stopping', v_stopping);
end
$$;
comment on function public.suspend_user(uuid, text) is
'Nothing of the user is accepted or claimed from now on, and what runs is cancelled; queued executions wait. Data stays readable. Needs users.suspend.';

create or replace function public.resume_user(user_id uuid, reason text default null) returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.begin_admin_action('users.suspend', resume_user.user_id, reason);
  if exists (select 1 from public.user_profiles p
              where p.user_id = resume_user.user_id and p.deletion_requested_at is not null) then
    raise sqlstate 'PT409' using message = format('user_id: %s is being deleted', resume_user.user_id);
  end if;
  update public.user_profiles p set suspended_at = null
   where p.user_id = resume_user.user_id and p.suspended_at is not null;
  perform private.wake_workers();
  return private.user_summary(resume_user.user_id);
end
$$;
comment on function public.resume_user(uuid, text) is 'Ends a suspension: what waited runs. Needs users.suspend.';

revoke execute on function private.check_limits(jsonb, jsonb) from public;
revoke execute on function private.override_ranges() from public;
revoke execute on function private.stop_running(uuid) from public;
revoke execute on function public.set_user_tier(uuid, text, text) from public, anon, authenticated, service_role;
grant execute on function public.set_user_tier(uuid, text, text) to authenticated, service_role;
revoke execute on function public.set_user_role(uuid, text, text) from public, anon, authenticated, service_role;
grant execute on function public.set_user_role(uuid, text, text) to authenticated, service_role;
revoke execute on function public.set_user_override(uuid, jsonb, timestamptz, text)
from public, anon, authenticated, service_role;
grant execute on function public.set_user_override(uuid, jsonb, timestamptz, text) to authenticated, service_role;
revoke execute on function public.clear_user_override(uuid, text) from public, anon, authenticated, service_role;
grant execute on function public.clear_user_override(uuid, text) to authenticated, service_role;
revoke execute on function public.suspend_user(uuid, text) from public, anon, authenticated, service_role;
grant execute on function public.suspend_user(uuid, text) to authenticated, service_role;
revoke execute on function public.resume_user(uuid, text) from public, anon, authenticated, service_role;
grant execute on function public.resume_user(uuid, text) to authenticated, service_role;
