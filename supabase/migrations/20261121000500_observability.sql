-- What an operator looks at: errors, metrics, health of the system.

create table public.error_reports (
    id uuid primary key default gen_random_uuid(),
    user_id uuid references public.user_profiles (user_id) on delete cascade,
    execution_id uuid,
    source text not null check (source in ('worker', 'apps_script', 'edge_function', 'client', 'database')),
    category text not null check (length(category) between 1 and 100),
    code text check (length(code) <= 100),
    message text not null check (length(message) <= 4000),
    fingerprint text not null check (length(fingerprint) between 1 and 100),
    occurrences integer not null default 1 check (occurrences > 0),
    details jsonb not null default '{}'::jsonb,
    first_seen_at timestamptz not null default clock_timestamp(),
    last_seen_at timestamptz not null default clock_timestamp()
);
comment on table public.error_reports is 'Errors worth a look, one row per fingerprint. Redacted: no secrets, no mail content.';

create table public.performance_metrics (
    id uuid not null default gen_random_uuid(),
    name text not null check (length(name) between 1 and 200),
    value double precision not null,
    labels jsonb not null default '{}'::jsonb,
    recorded_at timestamptz not null default clock_timestamp(),
    primary key (id, recorded_at)
) partition by range (recorded_at);
comment on table public.performance_metrics is 'Samples of named measures, partitioned by day.';
create table partitions.performance_metrics_default partition of public.performance_metrics default;

create table public.system_health_checks (
    id uuid primary key default gen_random_uuid(),
    component text not null check (length(component) between 1 and 100),
    status text not null check (status in ('healthy', 'degraded', 'unhealthy')),
    latency_ms integer check (latency_ms >= 0),
    details jsonb not null default '{}'::jsonb,
    checked_at timestamptz not null default clock_timestamp()
);
comment on table public.system_health_checks is 'Results of health checks by component.';

create table private.partition_policies (
    parent text primary key,
    period text not null check (period in ('day', 'week', 'month')),
    periods_ahead integer not null check (periods_ahead between 1 and 60),
    keep interval
);
comment on table private.partition_policies is 'Which tables are partitioned, how far ahead partitions are made, and how long they are kept.';
comment on column private.partition_policies.period is 'Span of a new partition. A change acts on what is made from then on.';
comment on column private.partition_policies.keep is 'A partition older than this is dropped; null for execution_logs: the longest log retention of any tier.';
insert into private.partition_policies (parent, period, periods_ahead, keep) values
-- By week: a user's page looks into every partition, and a year of days would cost it tens of milliseconds.
('execution_logs', 'week', 2, null),
('rate_limit_tracking', 'day', 7, '32 days'),
('instance_health_status', 'day', 7, '14 days'),
('performance_metrics', 'day', 7, '30 days'),
('user_activity_logs', 'month', 2, '400 days');

create table private.history_rewrites (
    partition text primary key,
    gone text[] not null default '{}',
    going text[],
    next_block bigint not null default 0,
    changed_at timestamptz not null default clock_timestamp()
);
comment on table private.history_rewrites is
'Partitions of execution_logs that outlived the retention of some tiers: they are rewritten without the rows of those.';
comment on column private.history_rewrites.gone is 'Tiers whose rows the partition does not hold any more.';
comment on column private.history_rewrites.going is 'Tiers that the copy which is being made leaves out; null: none is being made.';
comment on column private.history_rewrites.next_block is 'Where the copying goes on.';
