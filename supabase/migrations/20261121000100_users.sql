-- Who uses the product: tiers as rows, roles and what they may do, profiles beside auth.users, exceptions per user.

create schema if not exists private;
comment on schema private is 'Internals of FlowState: helper functions and bookkeeping tables. Never exposed through the API.';

create schema if not exists partitions;
comment on schema partitions is
'Partitions of the public history tables. Unexposed, because row security of a parent does not guard a partition that is asked directly.';

revoke all on schema private from public;
revoke all on schema partitions from public;

create table public.subscription_tiers (
    tier text primary key check (tier ~ '^[a-z][a-z0-9_]{0,39}$'),
    hour_limit integer check (hour_limit between 1 and 1000000),
    day_limit integer check (day_limit between 1 and 10000000),
    month_limit integer check (month_limit between 1 and 100000000),
    weight integer not null default 1 check (weight between 1 and 1000),
    max_running integer not null default 1 check (max_running between 1 and 1000),
    log_retention_days integer not null default 30 check (log_retention_days between 1 and 3650),
    context_limit_bytes bigint not null default 10485760 check (context_limit_bytes between 0 and 1099511627776),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    check (hour_limit <= day_limit),
    check (hour_limit <= month_limit),
    check (day_limit <= month_limit)
);
comment on table public.subscription_tiers is 'Limits per tier. A change acts on the next call of every user of the tier.';
comment on column public.subscription_tiers.hour_limit is 'Executions accepted in any 3,600 s; null: unlimited.';
comment on column public.subscription_tiers.day_limit is 'Executions accepted in any 86,400 s; null: unlimited.';
comment on column public.subscription_tiers.month_limit is 'Executions accepted in any 30 days; null: unlimited.';
comment on column public.subscription_tiers.weight is 'Share of a saturated pool relative to the other active users.';
comment on column public.subscription_tiers.max_running is 'Executions of one user that may run at once.';
comment on column public.subscription_tiers.log_retention_days is 'How long execution logs are kept, in days.';
comment on column public.subscription_tiers.context_limit_bytes is 'Context that a user of the tier may keep over all sessions, in bytes before compression.';

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
    deletion_requested_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
comment on table public.user_profiles is 'One row per auth user, made by trigger. Tier and role are read here, never from a token.';
comment on column public.user_profiles.role is 'user: their own things; support, admin, owner: what role_permissions grants on top.';
comment on column public.user_profiles.suspended_at is 'Set: nothing of this user is accepted or claimed; their data stays readable.';
comment on column public.user_profiles.deletion_requested_at is 'Set: the user is being deleted. It cannot be taken back.';

create table public.role_permissions (
    role text not null check (role in ('user', 'support', 'admin', 'owner')),
    permission text not null check (permission ~ '^[a-z]+[.][a-z_]+$'),
    primary key (role, permission)
);
comment on table public.role_permissions is 'What a role may do beyond its own rows. Asked by has_permission() and by every administrative function.';

insert into public.role_permissions (role, permission) values
('support', 'users.read'),
('support', 'executions.read'),
('support', 'activity.read'),
('admin', 'users.read'),
('admin', 'users.suspend'),
('admin', 'users.set_tier'),
('admin', 'users.override'),
('admin', 'users.export'),
('admin', 'sessions.revoke'),
('admin', 'executions.read'),
('admin', 'activity.read'),
('admin', 'activity.verify'),
('admin', 'ops.listen'),
('owner', 'users.read'),
('owner', 'users.suspend'),
('owner', 'users.set_tier'),
('owner', 'users.override'),
('owner', 'users.export'),
('owner', 'users.delete'),
('owner', 'users.set_role'),
('owner', 'sessions.revoke'),
('owner', 'executions.read'),
('owner', 'activity.read'),
('owner', 'activity.verify'),
('owner', 'tiers.set'),
('owner', 'ops.listen');

create table public.user_limit_overrides (
    user_id uuid primary key references public.user_profiles (user_id) on delete cascade,
    hour_limit integer check (hour_limit between 1 and 1000000),
    day_limit integer check (day_limit between 1 and 10000000),
    month_limit integer check (month_limit between 1 and 100000000),
    weight integer check (weight between 1 and 1000),
    max_running integer check (max_running between 1 and 1000),
    unlimited text[] not null default '{}' check (unlimited <@ array['hour_limit', 'day_limit', 'month_limit']),
    reason text not null check (length(reason) between 1 and 500),
    ends_at timestamptz not null check (isfinite(ends_at)),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
comment on table public.user_limit_overrides is 'Exceptions from the tier for one user, until a moment. Null: as the tier says.';
comment on column public.user_limit_overrides.unlimited is 'Which of the limits do not hold for this user at all.';
comment on column public.user_limit_overrides.ends_at is 'From this moment on the tier holds again; the row is removed soon after.';

create table private.erasures (
    user_id uuid primary key,
    requested_at timestamptz not null default clock_timestamp()
);
comment on table private.erasures is 'Users who are gone, and whose history is being erased in bounded steps. No foreign key: there is nothing left to refer to.';
