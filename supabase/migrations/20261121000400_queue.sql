-- The queue and its history. The queue holds live rows only, so that it stays small however long the history is.

create table public.queue_processors (
    id text primary key check (length(id) between 1 and 200),
    host text,
    version text,
    max_in_flight integer check (max_in_flight > 0),
    in_flight integer not null default 0 check (in_flight >= 0),
    draining boolean not null default false,
    started_at timestamptz not null default clock_timestamp(),
    last_heartbeat_at timestamptz not null default clock_timestamp()
);
comment on table public.queue_processors is 'Workers and other claimers that are, or lately were, alive.';

create table public.flow_execution_queue (
    id uuid primary key,
    user_id uuid not null references public.user_profiles (user_id) on delete cascade,
    flow_id uuid not null references public.flows (id),
    flow_version integer not null,
    state text not null check (state in ('scheduled', 'available', 'running')),
    priority smallint not null default 0 check (priority between -100 and 100),
    attempt integer not null default 0 check (attempt >= 0),
    max_attempts integer not null check (max_attempts between 1 and 25),
    unspent_retries integer not null default 0 check (unspent_retries >= 0),
    run_at timestamptz not null,
    queued_at timestamptz not null default clock_timestamp(),
    started_at timestamptz,
    lease_expires_at timestamptz,
    lease_token uuid,
    previous_lease_token uuid,
    processor_id text,
    instance_id uuid references public.apps_script_instances (id),
    pinned_instance_id uuid,
    avoided_instance_id uuid,
    avoided_owner text,
    cancel_requested_at timestamptz,
    origin_id uuid,
    idempotency_key text check (length(idempotency_key) between 1 and 200),
    first_error jsonb,
    last_error jsonb,
    input jsonb not null default '{}'::jsonb check (jsonb_typeof(input) = 'object'),
    foreign key (flow_id, flow_version) references public.flow_versions (flow_id, version),
    check ((state = 'running') = (lease_token is not null)),
    check ((state = 'running') = (lease_expires_at is not null)),
    check ((state = 'running') = (instance_id is not null))
) with (
    -- Every row is updated at least once (claimed) and then deleted: room for the new version on the same page,
    -- and vacuum by count rather than by share, since the table is small while its turnover is large.
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = 50000,
    autovacuum_analyze_scale_factor = 0,
    autovacuum_analyze_threshold = 20000,
    autovacuum_vacuum_cost_delay = 0
);
comment on table public.flow_execution_queue is
'Live executions. The transaction that ends one moves it to execution_logs. Change it through the queue functions only.';
comment on column public.flow_execution_queue.id is 'Execution id, stable over all attempts and time-ordered.';
comment on column public.flow_execution_queue.state is 'Stored: scheduled, available, running. waiting is derived: available while the user is at the running limit.';
comment on column public.flow_execution_queue.priority is 'Orders one user''s own executions, higher first; never one user over another.';
comment on column public.flow_execution_queue.attempt is 'Number of the attempt that runs or ran last; an unspent attempt is given back.';
comment on column public.flow_execution_queue.unspent_retries is 'Attempts given back so far; bounded, so that nothing circles for ever.';
comment on column public.flow_execution_queue.lease_token is 'The fence: who ends, extends or releases the attempt must name it.';
comment on column public.flow_execution_queue.previous_lease_token is 'Token of the attempt before, so that a repeated call is recognised as done.';
comment on column public.flow_execution_queue.pinned_instance_id is 'An attempt may have run there: only that instance can tell, and may run it again.';
comment on column public.flow_execution_queue.origin_id is 'The execution that this one replays.';

create table private.user_queue (
    user_id uuid primary key references public.user_profiles (user_id) on delete cascade,
    tier text not null,
    weight integer not null check (weight > 0),
    max_running integer not null check (max_running > 0),
    running integer not null default 0 check (running >= 0),
    available integer not null default 0 check (available >= 0),
    virtual_time double precision not null default 0,
    blocked_until timestamptz,
    suspended boolean not null default false,
    claimable boolean generated always as (available > 0 and running < max_running and not suspended) stored,
    hour_from timestamptz default '-infinity',
    hour_used bigint not null default 0,
    day_from timestamptz default '-infinity',
    day_used bigint not null default 0,
    month_from timestamptz default '-infinity',
    month_used bigint not null default 0,
    full_until timestamptz,
    full_for integer[],
    full_by integer
) with (
    fillfactor = 60,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0
);
comment on table private.user_queue is
'One row per user who ever queued something: the unit of admission, concurrency and fairness. Locked first by every verb, in order of user_id.';
comment on column private.user_queue.available is 'Rows of this user in state available; with running it decides who is claimable, without a look at the backlog.';
comment on column private.user_queue.claimable is 'What the index of users to serve is on: as long as it stays, an update of the row touches no index.';
comment on column private.user_queue.virtual_time is 'Service received, divided by weight. The claim serves the least first.';
comment on column private.user_queue.hour_from is 'hour_used counts the acceptances after this moment: all that there were, in a new row; null: to be counted anew. So for day and month.';
comment on column private.user_queue.full_until is 'Before this moment no window has room for one more, as long as the limits are those in full_for (hour, day, month); full_by is the number of the window that says so.';
comment on column private.user_queue.hour_used is 'A cache of what rate_limit_tracking says, so that an acceptance is looked at twice: when it comes and when it leaves the window.';

create table private.queue_state (
    id boolean primary key default true check (id),
    virtual_time double precision not null default 0
) with (fillfactor = 50);
comment on table private.queue_state is 'One row: the virtual clock of fairness.';
insert into private.queue_state default values;

create table private.wake_ups (
    id boolean primary key default true check (id),
    woken_at timestamptz not null default '-infinity'
) with (fillfactor = 50);
comment on table private.wake_ups is
'One row: when workers were last woken. Apart from queue_state, so that no claim waits for who wakes them.';
insert into private.wake_ups default values;

create table private.idempotency_keys (
    user_id uuid not null references public.user_profiles (user_id) on delete cascade,
    idempotency_key text not null,
    execution_id uuid not null,
    created_at timestamptz not null default clock_timestamp(),
    primary key (user_id, idempotency_key)
);
comment on table private.idempotency_keys is 'Which execution a key stands for. A key means the same execution for a day, also after it ended.';

create table public.rate_limit_tracking (
    user_id uuid not null,
    accepted_at timestamptz not null,
    execution_id uuid not null,
    flow_id uuid,
    primary key (user_id, accepted_at, execution_id)
) partition by range (accepted_at);
comment on table public.rate_limit_tracking is
'One row per accepted execution, partitioned by day: the sliding windows of the limits are counted from it. A deferred one counts at its moment. Only admission adds rows.';
comment on column public.rate_limit_tracking.flow_id is 'Set for executions of flows that had limits of their own when this was accepted.';
create table partitions.rate_limit_tracking_default partition of public.rate_limit_tracking default;

create table private.flow_windows (
    flow_id uuid primary key references public.flows (id) on delete cascade,
    burst_from timestamptz default '-infinity',
    burst_used bigint not null default 0,
    hour_from timestamptz default '-infinity',
    hour_used bigint not null default 0,
    day_from timestamptz default '-infinity',
    day_used bigint not null default 0
) with (fillfactor = 60);
comment on table private.flow_windows is
'What the flows with limits of their own have used, as hour_used and hour_from of user_queue. Guarded by the row of the user there.';

create table public.execution_logs (
    execution_id uuid not null,
    attempt integer not null check (attempt >= 0),
    user_id uuid not null,
    tier text,
    flow_id uuid not null,
    flow_name text not null,
    flow_kind text not null,
    flow_version integer not null,
    outcome text not null check (outcome in ('succeeded', 'failed', 'dead', 'cancelled')),
    is_final boolean not null,
    category text,
    error jsonb,
    input jsonb,
    result jsonb,
    usage jsonb,
    priority smallint not null default 0,
    instance_id uuid,
    instance_name text,
    processor_id text,
    lease_token uuid,
    origin_id uuid,
    queued_at timestamptz not null,
    started_at timestamptz,
    finished_at timestamptz not null default clock_timestamp(),
    duration_ms integer check (duration_ms >= 0),
    primary key (execution_id, attempt, finished_at)
) partition by range (finished_at);
comment on table public.execution_logs is
'History: one row per attempt, partitioned by week of its end. No foreign keys: history outlives what it names, and a partition is dropped in one step.';
comment on column public.execution_logs.outcome is 'How the attempt ended; failed with is_final = false was tried again.';
comment on column public.execution_logs.is_final is 'Whether the execution ended with this attempt.';
comment on column public.execution_logs.input is 'Kept with the final row only.';
comment on column public.execution_logs.duration_ms is 'Time of the call as the processor measured it, in milliseconds.';
create table partitions.execution_logs_default partition of public.execution_logs default;

create table public.dead_letters (
    execution_id uuid primary key,
    user_id uuid not null references public.user_profiles (user_id) on delete cascade,
    flow_id uuid not null,
    flow_name text not null,
    flow_version integer not null,
    input jsonb not null,
    attempts integer not null,
    category text,
    first_error jsonb,
    last_error jsonb,
    origin_id uuid,
    queued_at timestamptz not null,
    died_at timestamptz not null default clock_timestamp(),
    replayed_at timestamptz,
    replayed_as uuid,
    discarded_at timestamptz
);
comment on table public.dead_letters is 'Executions that used up their attempts or cannot be retried, kept for replay.';
