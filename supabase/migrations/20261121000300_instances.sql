-- The pool: accounts that own Apps Script deployments, the deployments, their health, and how load is balanced.

create table public.apps_script_owners (
    owner text primary key check (length(owner) between 1 and 320),
    account_type text not null default 'consumer' check (account_type in ('consumer', 'workspace')),
    max_in_flight integer not null default 20 check (max_in_flight between 1 and 28),
    set_aside_until timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
comment on table public.apps_script_owners is
'Google accounts. The 30 simultaneous executions and the daily quotas belong to the account, not to a deployment.';
comment on column public.apps_script_owners.max_in_flight is 'Calls in flight for all deployments of the account; 28 at most, since probes take slots too.';
comment on column public.apps_script_owners.set_aside_until is 'No calls before this moment: a daily quota is used up.';

create table public.apps_script_instances (
    id uuid primary key default gen_random_uuid(),
    name text not null unique check (name ~ '^[a-z0-9][a-z0-9._-]{0,62}$'),
    owner text not null references public.apps_script_owners (owner),
    url text not null unique check (length(url) <= 500),
    kind text not null default 'apps_script' check (kind in ('apps_script', 'webhook')),
    key_id text not null default 'k1' check (key_id ~ '^[A-Za-z0-9_-]{1,40}$'),
    state text not null default 'active' check (state in ('active', 'draining', 'disabled')),
    weight integer not null default 1 check (weight between 1 and 1000),
    max_in_flight integer not null default 20 check (max_in_flight between 1 and 1000),
    build text check (length(build) <= 100),
    locale text check (length(locale) <= 20),
    breaker_state text not null default 'closed' check (breaker_state in ('closed', 'open', 'half_open')),
    breaker_generation bigint not null default 0,
    breaker_failures integer not null default 0 check (breaker_failures >= 0),
    breaker_open_until timestamptz,
    last_success_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
comment on table public.apps_script_instances is 'Deployed endpoints. The HMAC secret is never stored here: key_id names it.';
comment on column public.apps_script_instances.name is 'Also the script property INSTANCE_NAME, so that a signed call cannot be replayed against another instance.';
comment on column public.apps_script_instances.key_id is 'Which of the worker''s keys signs the calls; the script holds it as property HMAC_<key_id>.';
comment on column public.apps_script_instances.state is 'active: takes calls; draining: finishes what it has; disabled: out of the pool.';
comment on column public.apps_script_instances.breaker_generation is 'Goes up with each transition, so that a late answer of an older generation changes nothing.';

create table public.instance_health_status (
    id uuid not null default gen_random_uuid(),
    instance_id uuid not null,
    status text not null check (status in ('healthy', 'degraded', 'unhealthy')),
    category text,
    latency_ms integer check (latency_ms >= 0),
    build text,
    locale text,
    mail_remaining integer,
    checked_at timestamptz not null default clock_timestamp(),
    primary key (id, checked_at)
) partition by range (checked_at);
comment on table public.instance_health_status is 'History of health probes, partitioned by day.';
create table partitions.instance_health_status_default partition of public.instance_health_status default;

create table public.load_balancer_config (
    id boolean primary key default true check (id),
    global_max_in_flight integer not null default 1000 check (global_max_in_flight between 1 and 100000),
    allowed_hosts text[] not null default array['script.google.com']
    check (cardinality(allowed_hosts) between 1 and 100),
    breaker_failure_threshold integer not null default 3 check (breaker_failure_threshold between 1 and 100),
    breaker_open_seconds integer not null default 300 check (breaker_open_seconds between 1 and 86400),
    retry_base_seconds numeric not null default 2 check (retry_base_seconds between 0 and 3600),
    retry_cap_seconds numeric not null default 600 check (retry_cap_seconds between 0 and 86400),
    paused_at timestamptz,
    updated_at timestamptz not null default now()
);
comment on table public.load_balancer_config is 'One row, read by every claim: a change acts at once.';
comment on column public.load_balancer_config.global_max_in_flight is 'Calls in flight over all owners and instances.';
comment on column public.load_balancer_config.allowed_hosts is 'Hosts (or host:port) that an instance URL may name.';
comment on column public.load_balancer_config.paused_at is 'Set: nothing is claimed. What runs goes on.';
insert into public.load_balancer_config default values;
