-- Sign-ins, and the trail of who did what to what. The trail is chained by hashes, so that a changed row shows.

create table public.user_sessions (
    id uuid primary key,
    user_id uuid not null references public.user_profiles (user_id) on delete cascade,
    method text check (length(method) <= 60),
    device text check (length(device) <= 400),
    address inet,
    created_at timestamptz not null default clock_timestamp(),
    last_seen_at timestamptz not null default clock_timestamp(),
    checked_at timestamptz not null default clock_timestamp(),
    ended_at timestamptz,
    end_reason text check (end_reason in ('signed_out', 'revoked', 'expired'))
);
comment on table public.user_sessions is 'Sign-ins of a user, written by the access token hook: where am I signed in, and end it.';
comment on column public.user_sessions.id is 'The session id of Supabase Auth, which every token of the sign-in carries.';
comment on column public.user_sessions.last_seen_at is 'When a token was last issued for it.';
comment on column public.user_sessions.checked_at is 'When Supabase Auth was last asked whether it still knows the session.';

create table public.user_activity_logs (
    id uuid not null default gen_random_uuid(),
    user_id uuid,
    actor_id uuid,
    actor text not null check (length(actor) between 1 and 200),
    action text not null check (action ~ '^[a-z_]+[.][a-z_]+$' and length(action) <= 100),
    object_type text check (length(object_type) <= 100),
    object_id text check (length(object_id) <= 200),
    details jsonb not null default '{}'::jsonb check (jsonb_typeof(details) = 'object'),
    address inet,
    occurred_at timestamptz not null default clock_timestamp(),
    salt bytea,
    content_hash bytea not null,
    chain_position bigint,
    hash bytea,
    erased_at timestamptz,
    primary key (id, occurred_at),
    check ((chain_position is null) = (hash is null)),
    check ((erased_at is null) = (salt is not null))
) partition by range (occurred_at);
comment on table public.user_activity_logs is
'Who did what to what, partitioned by month. No foreign keys: the trail outlives what it names. Rows are added by private.record_activity() and never change, but for their place in the chain and an erasure.';
comment on column public.user_activity_logs.user_id is 'Whose account it is about; null: about no user, or the user was deleted.';
comment on column public.user_activity_logs.actor_id is 'Who acted, when it was a signed-in person.';
comment on column public.user_activity_logs.actor is 'user, support, admin, owner, service (with a name if it gave one), database, or system.';
comment on column public.user_activity_logs.details is 'For changes: {"before", "after", "reason"}. Never content of flows or mail.';
comment on column public.user_activity_logs.salt is 'Makes content_hash say nothing about the content once that is erased; goes with it.';
comment on column public.user_activity_logs.content_hash is 'SHA-256 over salt and everything about persons: user, actor, object, details, address.';
comment on column public.user_activity_logs.chain_position is 'Place in the chain; null until the row is chained, which follows within minutes.';
comment on column public.user_activity_logs.hash is 'SHA-256 over the hash of the position before, and this row without what an erasure takes.';
comment on column public.user_activity_logs.erased_at is 'Set: the user was deleted. What remains is what was done when, and its place in the chain.';

create table partitions.user_activity_logs_default partition of public.user_activity_logs default;

create table private.activity_chain (
    id boolean primary key default true check (id),
    chain_position bigint not null default 0,
    hash bytea not null default '\x0000000000000000000000000000000000000000000000000000000000000000',
    horizon bigint not null default 0,
    horizon_hash bytea not null default '\x0000000000000000000000000000000000000000000000000000000000000000'
);
comment on table private.activity_chain is 'The head of the hash chain, and the last position whose partition was dropped.';
insert into private.activity_chain default values;
