-- What support reads about users: through these functions only, each call with a reason and a line in the trail.

create or replace function public.list_users(
  search text default null, tier text default null, role text default null, state text default null,
  after uuid default null, max integer default 50
)
returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.require_permission('users.read');
  if list_users.max is null or list_users.max not between 1 and 1000 then
    raise sqlstate 'PT400' using message = format('max must be an integer from 1 to 1000, not %s', list_users.max);
  elsif list_users.state is not null and list_users.state not in ('active', 'suspended', 'deleting') then
    raise sqlstate 'PT400' using message = 'state must be active, suspended or deleting';
  end if;
  if auth.uid() is not null then
    perform private.record_activity('user.listed', null, 'user', null, jsonb_build_object(
      'tier', list_users.tier, 'role', list_users.role, 'state', list_users.state,
      'searched', list_users.search is not null));
  end if;
  return (
    select coalesce(jsonb_agg(u.data order by u.user_id), '[]')
      from (
        select p.user_id, jsonb_build_object(
                 'user_id', p.user_id, 'email', a.email, 'display_name', p.display_name, 'tier', p.tier, 'role', p.role,
                 'state', private.user_state(p), 'override_ends_at', o.ends_at, 'created_at', p.created_at,
                 'last_sign_in_at', a.last_sign_in_at) as data
          from public.user_profiles p
          join auth.users a on a.id = p.user_id
          left join public.user_limit_overrides o on o.user_id = p.user_id and o.ends_at > clock_timestamp()
         where (list_users.search is null
                -- An id or an exact address: both are a look into an index.
                or p.user_id = any (array(
                     select u.id from auth.users u where u.email = lower(trim(list_users.search)) and not u.is_sso_user
                     union all
                     select u.id from auth.users u where u.id = case
                       when trim(list_users.search) ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                       then trim(list_users.search)::uuid end)))
           and (list_users.tier is null or p.tier = list_users.tier)
           and (list_users.role is null or p.role = list_users.role)
           and (list_users.state is null or private.user_state(p) = list_users.state)
           and (list_users.after is null or p.user_id > list_users.after)
         order by p.user_id
         limit list_users.max) u);
end
$$;
comment on function public.list_users(text, text, text, text, uuid, integer) is
'Users in order of id, page by page: after is the last id of the page before. search is an id or an exact e-mail address. Needs users.read.';

create or replace function private.begin_support_read(permission text, user_id uuid, reason text, what text)
returns void
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.require_permission(permission);
  if not exists (select 1 from public.user_profiles p where p.user_id = begin_support_read.user_id) then
    raise sqlstate 'PT404' using message = format('user_id: there is no user %s', begin_support_read.user_id),
      hint = 'List the users to find the id.';
  end if;
  if auth.uid() is not null then
    perform private.require_reason(reason);
    perform set_config('flowstate.reason', reason, true);
    perform private.record_activity('user.' || what, begin_support_read.user_id, 'user',
                                    begin_support_read.user_id::text, '{}');
  end if;
end
$$;
comment on function private.begin_support_read(text, uuid, text, text) is
'The gate of every look into an account: permission, reason, and a line in that user''s trail.';

create or replace function public.get_user(user_id uuid, reason text default null) returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.begin_support_read('users.read', get_user.user_id, reason, 'read');
  return private.user_summary(get_user.user_id) || jsonb_build_object(
    'usage', private.usage_of(get_user.user_id),
    'queue', (select jsonb_build_object('scheduled', count(*) filter (where q.state = 'scheduled'),
                                        'available', count(*) filter (where q.state = 'available'),
                                        'running', count(*) filter (where q.state = 'running'))
                from public.flow_execution_queue q where q.user_id = get_user.user_id),
    'flows', (select count(*) from public.flows f where f.user_id = get_user.user_id),
    'dead_letters', (select count(*) from public.dead_letters d
                      where d.user_id = get_user.user_id and d.replayed_at is null and d.discarded_at is null));
end
$$;
comment on function public.get_user(uuid, text) is 'One user: account, limits, usage, queue. Needs users.read, and a reason from a person.';

create or replace function public.get_user_executions(
  user_id uuid, reason text default null, before timestamptz default null, max integer default 50
)
returns table (
  execution_id uuid, flow_id uuid, flow_name text, state text, attempt integer, category text, code text,
  instance_id uuid, queued_at timestamptz, started_at timestamptz, finished_at timestamptz, duration_ms integer
)
language plpgsql
security definer
set search_path = ''
-- As in list_my_executions: in the order of the index, whoever it is.
set enable_sort = off
as $$
#variable_conflict use_column
begin
  perform private.begin_support_read('executions.read', get_user_executions.user_id, reason, 'executions_read');
  if get_user_executions.max is null or get_user_executions.max not between 1 and 1000 then
    raise sqlstate 'PT400' using message = format('max must be an integer from 1 to 1000, not %s', get_user_executions.max);
  end if;
  -- No input, no result, no message: what a mailbox holds is not for support.
  return query
    (select q.id, q.flow_id, f.name, q.state, q.attempt, q.last_error ->> 'category', q.last_error ->> 'code',
            q.instance_id, q.queued_at, q.started_at, null::timestamptz, null::integer
       from public.flow_execution_queue q
       join public.flows f on f.id = q.flow_id
      where q.user_id = get_user_executions.user_id and get_user_executions.before is null
      order by q.queued_at desc
      limit get_user_executions.max)
    union all
    (select l.execution_id, l.flow_id, l.flow_name, l.outcome, l.attempt, l.category, l.error ->> 'code',
            l.instance_id, l.queued_at, l.started_at, l.finished_at, l.duration_ms
       from public.execution_logs l
      where l.user_id = get_user_executions.user_id
        and l.finished_at < coalesce(get_user_executions.before, 'infinity')
      order by l.finished_at desc
      limit get_user_executions.max)
    limit get_user_executions.max;
end
$$;
comment on function public.get_user_executions(uuid, text, timestamptz, integer) is
'Executions of a user without their content: live ones first, then past attempts, latest first; before is the last finished_at of the page before. Needs executions.read.';

create or replace function public.get_user_activity(
  user_id uuid, reason text default null, before timestamptz default null, max integer default 50
)
returns table (
  id uuid, occurred_at timestamptz, actor_id uuid, actor text, action text, object_type text, object_id text,
  details jsonb, address inet
)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
begin
  perform private.begin_support_read('activity.read', get_user_activity.user_id, reason, 'activity_read');
  if get_user_activity.max is null or get_user_activity.max not between 1 and 1000 then
    raise sqlstate 'PT400' using message = format('max must be an integer from 1 to 1000, not %s', get_user_activity.max);
  end if;
  return query
    select l.id, l.occurred_at, l.actor_id, l.actor, l.action, l.object_type, l.object_id, l.details, l.address
      from public.user_activity_logs l
     where l.user_id = get_user_activity.user_id
       and l.occurred_at < coalesce(get_user_activity.before, 'infinity')
     order by l.occurred_at desc
     limit get_user_activity.max;
end
$$;
comment on function public.get_user_activity(uuid, text, timestamptz, integer) is
'The trail of a user, latest first; before is the last occurred_at of the page before. Needs activity.read.';

revoke execute on function private.begin_support_read(text, uuid, text, text) from public;
revoke execute on function public.list_users(text, text, text, text, uuid, integer)
from public, anon, authenticated, service_role;
grant execute on function public.list_users(text, text, text, text, uuid, integer) to authenticated, service_role;
revoke execute on function public.get_user(uuid, text) from public, anon, authenticated, service_role;
grant execute on function public.get_user(uuid, text) to authenticated, service_role;
revoke execute on function public.get_user_executions(uuid, text, timestamptz, integer)
from public, anon, authenticated, service_role;
grant execute on function public.get_user_executions(uuid, text, timestamptz, integer) to authenticated, service_role;
revoke execute on function public.get_user_activity(uuid, text, timestamptz, integer)
from public, anon, authenticated, service_role;
grant execute on function public.get_user_activity(uuid, text, timestamptz, integer) to authenticated, service_role;
