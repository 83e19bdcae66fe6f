-- Who uses the product: tiers as rows, profiles beside auth.users, sign-in sessions and the activity trail.

create schema if not exists private;
comment on schema private is 'Internals of FlowState: helper functions and bookkeeping tables. Never exposed through the API.';

create schema if not exists partitions;
comment on schema partitions is
'Partitions of the public history tables. Unexposed, because row security of a parent does not guard a partition that is asked directly.';

revoke all on schema private from public;
revoke all on schema partitions from public;

create table public.subscription_tiers (
    tier text primary key check (tier ~ '^[a-z][a-z0-9_]{0,39}$'),
    hour_limit integer check (hour_limit > 0),
    day_limit integer check (day_limit > 0),
    month_limit integer check (month_limit > 0),
    weight integer not null default 1 check (weight between 1 and 1000),
    max_running integer not null default 1 check (max_running between 1 and 1000),
    log_retention_days integer not null default 30 check (log_retention_days between 1 and 3650),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
comment on table public.subscription_tiers is 'Limits per tier. A change acts on the next call of every user of the tier.';
comment on column public.subscription_tiers.hour_limit is 'Executions accepted in any 3,600 s; null: unlimited.';
comment on column public.subscription_tiers.day_limit is 'Executions accepted in any 86,400 s; null: unlimited.';
comment on column public.subscription_tiers.month_limit is 'Executions accepted in any 30 days; null: unlimited.';
comment on column public.subscription_tiers.weight is 'Share of a saturated pool relative to the other active users.';
comment on column public.subscription_tiers.max_running is 'Executions of one user that may run at once.';
comment on column public.subscription_tiers.log_retention_days is 'How long execution logs are kept, in days.';

insert into public.subscription_tiers (tier, hour_limit, day_limit, weight, max_running, log_retention_days) values
('free', 5, 20, 1, 1, 30),
('pro', 30, 200, 4, 5, 90),
('enterprise', 100, null, 16, 20, 365);

create table public.user_profiles (
    user_id uuid primary key references auth.users (id) on delete cascade,
    tier text not null default 'free' references public.subscription_tiers (tier),
    role text not null default 'user' check (role in ('user', 'support', 'admin', 'owner')),
    display_name text check (length(display_name) <= 200),
    time_zone text not null default 'UTC' check (length(time_zone) <= 64),
    suspended_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
comment on table public.user_profiles is 'One row per auth user, made by trigger. Tier and role are read here, never from a token.';
comment on column public.user_profiles.suspended_at is 'Set: nothing of this user is accepted or claimed; their data stays readable.';

create table public.user_sessions (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null references public.user_profiles (user_id) on delete cascade,
    auth_session_id uuid unique,
    device text check (length(device) <= 400),
    address inet,
    created_at timestamptz not null default now(),
    last_seen_at timestamptz not null default now(),
    revoked_at timestamptz
);
comment on table public.user_sessions is 'Sign-ins of a user, for "where am I signed in" and revocation.';

create table public.user_activity_logs (
    id uuid not null default gen_random_uuid(),
    user_id uuid not null,
    actor_id uuid,
    action text not null check (length(action) between 1 and 100),
    object_type text,
    object_id text,
    details jsonb not null default '{}'::jsonb,
    address inet,
    occurred_at timestamptz not null default clock_timestamp(),
    primary key (id, occurred_at)
) partition by range (occurred_at);
comment on table public.user_activity_logs is
'Who did what to what, partitioned by month. No foreign keys: the trail outlives what it names.';
comment on column public.user_activity_logs.actor_id is 'Who acted, when it was not the user: support, admin; null: the user or the system.';

create table partitions.user_activity_logs_default partition of public.user_activity_logs default;
