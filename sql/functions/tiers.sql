-- Tiers as rows: made, changed and removed while everything runs.

create or replace function public.set_tier(tier text, limits jsonb, reason text default null) returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_variable
declare
  v_before public.subscription_tiers;
  v_after public.subscription_tiers;
begin
  perform private.require_permission('tiers.set');
  if tier is null or tier !~ '^[a-z][a-z0-9_]{0,39}$' then
    raise sqlstate 'PT400' using message = 'tier must be a name of 1 to 40 lower-case letters, digits and underscores';
  elsif length(reason) > 500 then
    raise sqlstate 'PT400' using message = format('reason has %s characters; at most 500 are kept', length(reason));
  end if;
  perform private.check_limits(limits, private.override_ranges() || '{
    "log_retention_days": [1, 3650, false], "context_limit_bytes": [0, 1099511627776, false]}');
  perform set_config('flowstate.reason', coalesce(reason, ''), true);

  select * into v_before from public.subscription_tiers t where t.tier = set_tier.tier for update;
  if not found then
    -- What is not given for a new tier is what the least one has; without a limit nobody starts.
    select * into v_before from public.subscription_tiers t where t.tier = 'free';
    v_before.tier := tier;
    v_before.created_at := now();
  end if;
  v_after := jsonb_populate_record(v_before, limits);
  v_after.updated_at := now();
  if v_after.hour_limit > least(v_after.day_limit, v_after.month_limit) or v_after.day_limit > v_after.month_limit then
    raise sqlstate 'PT400' using message = format(
      'limits: %s per hour, %s per day and %s per month contradict each other',
      coalesce(v_after.hour_limit::text, 'unlimited'), coalesce(v_after.day_limit::text, 'unlimited'),
      coalesce(v_after.month_limit::text, 'unlimited')),
      hint = 'Nothing was changed. A shorter window cannot allow more than a longer one.';
  end if;
  insert into public.subscription_tiers select v_after.*
  on conflict on constraint subscription_tiers_pkey do update
    set hour_limit = excluded.hour_limit, day_limit = excluded.day_limit, month_limit = excluded.month_limit,
        weight = excluded.weight, max_running = excluded.max_running,
        log_retention_days = excluded.log_retention_days, context_limit_bytes = excluded.context_limit_bytes;
  return to_jsonb(v_after);
end
$$;
comment on function public.set_tier(text, jsonb, text) is
'Makes a tier or changes the given limits of one; it acts on the next call of its users. Needs tiers.set.';

create or replace function public.remove_tier(tier text, reason text default null) returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_variable
declare
  v_users bigint;
begin
  perform private.require_permission('tiers.set');
  if tier = 'free' then
    raise sqlstate 'PT409' using message = 'tier: free is what new users get; it stays',
      hint = 'Change its limits instead.';
  end if;
  perform 1 from public.subscription_tiers t where t.tier = remove_tier.tier for update;
  if not found then
    raise sqlstate 'PT404' using message = format('tier: there is no tier %s', coalesce(quote_literal(private.plain(tier, 40)), 'null'));
  end if;
  select count(*) into v_users from public.user_profiles p where p.tier = remove_tier.tier;
  if v_users > 0 then
    raise sqlstate 'PT409' using message = format('tier: %s is in use, users on it: %s', tier, v_users),
      hint = 'Nothing was changed. Move them to another tier first.';
  end if;
  perform set_config('flowstate.reason', coalesce(left(reason, 500), ''), true);
  delete from public.subscription_tiers t where t.tier = remove_tier.tier;
  return jsonb_build_object('tier', tier, 'removed', true);
end
$$;
comment on function public.remove_tier(text, text) is 'Removes a tier that nobody is on. Needs tiers.set.';

revoke execute on function public.set_tier(text, jsonb, text) from public, anon, authenticated, service_role;
grant execute on function public.set_tier(text, jsonb, text) to authenticated, service_role;
revoke execute on function public.remove_tier(text, text) from public, anon, authenticated, service_role;
grant execute on function public.remove_tier(text, text) to authenticated, service_role;
