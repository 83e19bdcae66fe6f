-- What holds for a user now: the tier, but for an override that has not ended.
create or replace view private.effective_limits
with (security_invoker = true) as
select
    p.user_id,
    t.tier,
    case when 'hour_limit' = any(o.unlimited) then null else coalesce(o.hour_limit, t.hour_limit) end as hour_limit,
    case when 'day_limit' = any(o.unlimited) then null else coalesce(o.day_limit, t.day_limit) end as day_limit,
    case when 'month_limit' = any(o.unlimited) then null else coalesce(o.month_limit, t.month_limit) end as month_limit,
    coalesce(o.weight, t.weight) as weight,
    coalesce(o.max_running, t.max_running) as max_running,
    t.log_retention_days,
    t.context_limit_bytes,
    p.suspended_at is not null or p.deletion_requested_at is not null as suspended,
    o.ends_at as override_ends_at
from public.user_profiles as p
inner join public.subscription_tiers as t on p.tier = t.tier
left join public.user_limit_overrides as o on p.user_id = o.user_id and o.ends_at > clock_timestamp();
comment on view private.effective_limits is 'Limits per user as they hold at this moment. Every admission reads them here.';

revoke all on private.effective_limits from public, anon, authenticated, service_role;
