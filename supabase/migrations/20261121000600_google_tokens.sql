-- Users' OAuth tokens of Google. They come here sealed: neither a key nor a token that can be read is ever in the database.

create table private.google_tokens (
    user_id uuid primary key references public.user_profiles (user_id) on delete cascade,
    key_id text check (key_id ~ '^[A-Za-z0-9_-]{1,40}$'),
    -- A sealed form begins with its version, 0 to 3, which is an A in base64; no token of Google's begins so.
    sealed_refresh_token text
    check (sealed_refresh_token ~ '^A[A-Za-z0-9+/]+={0,2}$' and length(sealed_refresh_token) between 40 and 4096),
    sealed_access_token text
    check (sealed_access_token ~ '^A[A-Za-z0-9+/]+={0,2}$' and length(sealed_access_token) between 40 and 4096),
    access_expires_at timestamptz,
    scopes text[] not null default '{}',
    status text not null default 'active' check (status in ('active', 'failing', 'revoked')),
    reason text check (reason ~ '^[a-z_]{1,40}$'),
    version bigint not null default 1,
    failures integer not null default 0 check (failures >= 0),
    retry_at timestamptz,
    refresher_id text check (length(refresher_id) <= 200),
    refresh_lease_token uuid,
    refresh_lease_until timestamptz,
    next_refresh_at timestamptz,
    last_used_at timestamptz not null default clock_timestamp(),
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    -- What Google no longer accepts is not kept.
    check ((status = 'revoked') = (sealed_refresh_token is null)),
    check ((key_id is null) = (sealed_refresh_token is null)),
    check ((next_refresh_at is null) = (sealed_refresh_token is null)),
    check (sealed_access_token is null or sealed_refresh_token is not null),
    check ((sealed_access_token is null) = (access_expires_at is null)),
    check ((status = 'active') = (reason is null)),
    check ((status = 'failing') = (retry_at is not null)),
    check ((refresh_lease_token is null) = (refresh_lease_until is null))
) with (fillfactor = 80);
comment on table private.google_tokens is
'One connection to Google per user: the two tokens, sealed by the worker or the command line. Reached through functions only.';
comment on column private.google_tokens.key_id is 'Which key sealed both tokens; the key is in the worker''s environment or in Vault.';
comment on column private.google_tokens.sealed_refresh_token is
'Base64 of version, nonce, ciphertext and tag (AES-256-GCM), bound to user, kind and key id.';
comment on column private.google_tokens.status is 'active; failing: the last refresh failed and is tried again; revoked: the user has to connect anew.';
comment on column private.google_tokens.reason is 'Why it is failing or revoked: a category, never text of Google''s.';
comment on column private.google_tokens.version is 'Goes up whenever the sealed tokens change; fences the exchange of a key.';
comment on column private.google_tokens.retry_at is 'Back-off: no refresh is tried before this moment.';
comment on column private.google_tokens.refresh_lease_token is 'The fence of a refresh: one refresher at a time per user.';
comment on column private.google_tokens.next_refresh_at is 'When the refresher looks at it: its expiry, the end of a back-off, or of a rest when nobody uses it.';
comment on column private.google_tokens.created_at is 'When the user connected last.';
