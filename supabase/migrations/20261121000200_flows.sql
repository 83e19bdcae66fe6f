-- What users own: flows, every version that ever ran, and their schedules.

create table public.flows (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null references public.user_profiles (user_id) on delete cascade,
    name text not null check (length(name) between 1 and 200),
    kind text not null default 'apps_script' check (kind in ('apps_script')),
    definition jsonb not null,
    version integer not null default 1 check (version > 0),
    is_enabled boolean not null default true,
    max_attempts integer not null default 5 check (max_attempts between 1 and 25),
    deadline_seconds integer not null default 300 check (deadline_seconds between 5 and 300),
    burst_limit integer check (burst_limit between 1 and 1000000),
    burst_seconds integer not null default 60 check (burst_seconds between 1 and 3600),
    hour_limit integer check (hour_limit between 1 and 1000000),
    day_limit integer check (day_limit between 1 and 10000000),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    unique (user_id, name),
    check (hour_limit <= day_limit)
);
comment on table public.flows is 'A named list of steps owned by one user.';
comment on column public.flows.kind is 'Which kind of endpoint runs it: it is matched with apps_script_instances.kind.';
comment on column public.flows.definition is '{"steps": [{"name", "type", "args"}]}, at most 262,144 bytes; checked by validate_flow_definition().';
comment on column public.flows.version is 'Goes up by one with every change of the definition; kept by trigger.';
comment on column public.flows.max_attempts is 'After so many spent attempts the execution becomes a dead letter.';
comment on column public.flows.deadline_seconds is 'Run time that one attempt may use on the far side, in seconds; web apps are cut at 300.';
comment on column public.flows.burst_limit is 'Executions of this flow accepted in any burst_seconds; null: as many as the user may.';
comment on column public.flows.burst_seconds is 'Length of the burst window, in seconds.';
comment on column public.flows.hour_limit is 'Executions of this flow accepted in any 3,600 s, within the user''s own limit; null: as many as the user may.';
comment on column public.flows.day_limit is 'Executions of this flow accepted in any 86,400 s, within the user''s own limit; null: as many as the user may.';

create table public.flow_versions (
    flow_id uuid not null references public.flows (id) on delete cascade,
    version integer not null check (version > 0),
    user_id uuid not null references public.user_profiles (user_id) on delete cascade,
    definition jsonb not null,
    created_at timestamptz not null default now(),
    primary key (flow_id, version)
);
comment on table public.flow_versions is
'Immutable definitions. An execution runs the version it was accepted with, in every attempt, even when the flow is edited meanwhile.';

create table public.flow_schedules (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null references public.user_profiles (user_id) on delete cascade,
    flow_id uuid not null references public.flows (id) on delete cascade,
    kind text not null check (kind in ('once', 'interval', 'cron')),
    cron text check (length(cron) <= 200),
    interval_seconds integer check (interval_seconds between 60 and 31536000),
    time_zone text not null default 'UTC' check (length(time_zone) <= 64),
    input jsonb not null default '{}'::jsonb check (jsonb_typeof(input) = 'object'),
    catch_up text not null default 'one' check (catch_up in ('none', 'one', 'all')),
    jitter_seconds integer not null default 0 check (jitter_seconds between 0 and 3600),
    next_run_at timestamptz,
    last_run_at timestamptz,
    paused_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    check ((kind = 'cron') = (cron is not null)),
    check ((kind = 'interval') = (interval_seconds is not null))
);
comment on table public.flow_schedules is 'When a flow is enqueued by itself: once, at an interval, or by cron in the user''s time zone.';
comment on column public.flow_schedules.catch_up is 'What to do with moments missed during an outage: none, one, or all of them.';
