-- What a user has used of their limits, and what the tiers have.

create or replace function private.usage_of(user_id uuid) returns jsonb
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  v_now constant timestamptz := clock_timestamp();
  v_limits private.effective_limits;
  v_queue private.user_queue;
  v_window record;
  v_deferred bigint;
  v_counted bigint;
  v_opens_at timestamptz;
  v_windows jsonb := '[]';
begin
  select * into v_limits from private.effective_limits e where e.user_id = usage_of.user_id;
  if not found then
    return null;
  end if;
  select * into v_queue from private.user_queue q where q.user_id = usage_of.user_id;
  v_deferred := private.count_since(usage_of.user_id, null, v_now, null, null);
  for v_window in
    select * from (values ('hour', v_limits.hour_limit, 3600, v_queue.hour_from, v_queue.hour_used),
                          ('day', v_limits.day_limit, 86400, v_queue.day_from, v_queue.day_used),
                          ('month', v_limits.month_limit, 2592000, v_queue.month_from, v_queue.month_used))
                  w(name, most, seconds, counted_from, counted)
  loop
    v_counted := private.count_since(usage_of.user_id, null, v_now - make_interval(secs => v_window.seconds),
                                     v_window.counted_from, v_window.counted);
    v_opens_at := null;
    if v_counted >= v_window.most then
      v_opens_at := private.opens_at(
        private.closed_spans(usage_of.user_id, null, v_now - make_interval(secs => v_window.seconds), v_counted,
                             v_window.most, v_window.seconds), v_now);
    end if;
    v_windows := v_windows || jsonb_build_object(
      'window', v_window.name, 'limit', v_window.most, 'used', v_counted - v_deferred,
      -- What is deferred takes room, too: there may be more now than this.
      'remaining', case when v_opens_at is not null then 0
                        when v_window.most is not null then greatest(v_window.most - v_counted, 1) end,
      'resets_at', v_opens_at);
  end loop;
  return jsonb_build_object(
    'tier', v_limits.tier, 'limits', v_windows,
    'running', coalesce(v_queue.running, 0), 'max_running', v_limits.max_running,
    'queued', (select count(*) from public.flow_execution_queue q
                where q.user_id = usage_of.user_id and q.state in ('scheduled', 'available')),
    'override_ends_at', v_limits.override_ends_at);
end
$$;
comment on function private.usage_of(uuid) is
'A user''s windows with limit, used, remaining and when the next place frees (null while there is one), and their queue.';

create or replace function public.get_my_usage() returns jsonb
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
  if auth.uid() is null then
    raise sqlstate 'PT401' using message = 'get_my_usage answers the signed-in user, and nobody is signed in',
      hint = 'Call it with a user''s access token; get_user has the usage of others.';
  end if;
  return private.usage_of(auth.uid());
end
$$;
comment on function public.get_my_usage() is 'Your limits and what you have used of them, with your running and queued executions.';

create or replace function public.get_usage_by_tier()
returns table (
  tier text, users bigint, accepted_last_hour bigint, accepted_last_day bigint, running bigint, queued bigint
)
language plpgsql
stable
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_now constant timestamptz := clock_timestamp();
begin
  perform private.require_permission('users.read');
  return query
  with accepted as (
    select p.tier, count(*) as last_day,
           count(*) filter (where t.accepted_at > v_now - interval '3600 seconds') as last_hour
      from public.rate_limit_tracking t
      join public.user_profiles p on p.user_id = t.user_id
     where t.accepted_at > v_now - interval '86400 seconds' and t.accepted_at <= v_now
     group by p.tier
  ),
  live as (
    select p.tier, count(*) filter (where q.state = 'running') as running,
           count(*) filter (where q.state <> 'running') as queued
      from public.flow_execution_queue q
      join public.user_profiles p on p.user_id = q.user_id
     group by p.tier
  )
  select t.tier, (select count(*) from public.user_profiles p where p.tier = t.tier),
         coalesce(a.last_hour, 0), coalesce(a.last_day, 0), coalesce(l.running, 0), coalesce(l.queued, 0)
    from public.subscription_tiers t
    left join accepted a on a.tier = t.tier
    left join live l on l.tier = t.tier
   order by t.weight, t.tier;
end
$$;
comment on function public.get_usage_by_tier() is
'Per tier: users, executions accepted in the last hour and day, running and queued. Needs users.read.';

revoke execute on function private.usage_of(uuid) from public;
revoke execute on function public.get_my_usage() from public, anon, authenticated, service_role;
grant execute on function public.get_my_usage() to authenticated, service_role;
revoke execute on function public.get_usage_by_tier() from public, anon, authenticated, service_role;
grant execute on function public.get_usage_by_tier() to authenticated, service_role;
