-- What a client keeps of its work with a user: sessions, the commands in them, and snapshots of their context.

create table public.sessions (
    id uuid primary key,
    user_id uuid not null references public.user_profiles (user_id) on delete cascade,
    title text check (length(title) between 1 and 200),
    metadata jsonb not null default '{}'::jsonb check (jsonb_typeof(metadata) = 'object'),
    state text not null default 'active' check (state in ('active', 'closed')),
    command_count integer not null default 0 check (command_count >= 0),
    context_version integer not null default 0 check (context_version >= 0),
    context_bytes bigint not null default 0 check (context_bytes >= 0),
    created_at timestamptz not null default clock_timestamp(),
    last_active_at timestamptz not null default clock_timestamp(),
    closed_at timestamptz,
    check ((state = 'closed') = (closed_at is not null))
) with (fillfactor = 80);
comment on table public.sessions is
'A stretch of work of a user with a client. Not a sign-in: those are user_sessions. Changed by its functions only.';
comment on column public.sessions.command_count is 'Commands recorded so far; the next one has this number plus one.';
comment on column public.sessions.context_version is 'Version of the snapshot saved last. Versions are never used again.';
comment on column public.sessions.context_bytes is 'Size of the snapshots that are kept, in bytes before compression.';
comment on column public.sessions.last_active_at is 'To the minute, so that not every command moves an index entry.';

create table public.command_history (
    session_id uuid not null,
    ordinal integer not null check (ordinal > 0),
    user_id uuid not null,
    command text not null check (length(command) between 1 and 2000),
    arguments jsonb not null default '{}'::jsonb check (jsonb_typeof(arguments) = 'object'),
    outcome text not null check (outcome in ('succeeded', 'failed', 'cancelled')),
    execution_id uuid,
    duration_ms integer check (duration_ms >= 0),
    recorded_at timestamptz not null default clock_timestamp(),
    primary key (session_id, ordinal, recorded_at)
) partition by range (recorded_at);
comment on table public.command_history is
'Commands of sessions, partitioned by month. No foreign keys: a partition is dropped in one step, and commands outlive a session that was pruned.';
comment on column public.command_history.ordinal is 'Number of the command in its session, from 1.';
comment on column public.command_history.execution_id is 'The execution that the command led to, if any.';
create table partitions.command_history_default partition of public.command_history default;
insert into private.partition_policies (parent, period, periods_ahead, keep) values
('command_history', 'month', 2, '13 months');

create table public.context_snapshots (
    session_id uuid not null references public.sessions (id) on delete cascade,
    version integer not null check (version > 0),
    user_id uuid not null,
    size_bytes bigint not null check (size_bytes > 0),
    created_at timestamptz not null default clock_timestamp(),
    content jsonb not null,
    primary key (session_id, version)
    -- Whatever does not fit in a small row is compressed and kept beside the table.
) with (toast_tuple_target = 128);
comment on table public.context_snapshots is 'Saved states of a session''s context, compressed.';
comment on column public.context_snapshots.size_bytes is 'Length of the content as text, which is what the limit of the tier counts.';

-- A server without lz4 compresses with pglz; the statements are the same everywhere.
alter table public.context_snapshots alter column content set compression pglz;
do $$
begin
  if exists (select 1 from pg_catalog.pg_settings s
              where s.name = 'default_toast_compression' and 'lz4' = any (s.enumvals)) then
    alter table public.context_snapshots alter column content set compression lz4;
  end if;
end
$$;

create table private.context_usage (
    user_id uuid primary key references public.user_profiles (user_id) on delete cascade,
    commands integer not null default 0 check (commands >= 0),
    commands_on date not null default (clock_timestamp() at time zone 'UTC')::date
) with (fillfactor = 60);
comment on table private.context_usage is
'One row per user who has sessions. Locked by whatever adds to a user''s context, so that limits are exact; the bytes are counted from sessions.';
comment on column private.context_usage.commands is 'Commands recorded on the day commands_on (UTC).';

create table private.housekeeping_marks (
    step text primary key,
    reached_at timestamptz not null,
    reached_id uuid
);
comment on table private.housekeeping_marks is 'Where a bounded step of housekeeping that walks through a table goes on.';
