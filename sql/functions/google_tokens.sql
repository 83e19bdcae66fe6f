-- A user's connection to Google: stored and read by the service, seen and ended by its user.

create or replace function private.is_sealed(sealed text) returns boolean
language sql
immutable
set search_path = ''
as $$
  -- The form of a sealed token, as the table demands it; a token of Google's has another one.
  select sealed is not null and sealed ~ '^A[A-Za-z0-9+/]+={0,2}$' and length(sealed) between 40 and 4096
$$;
comment on function private.is_sealed(text) is 'Whether a text has the form of a sealed token, and not that of a readable one.';

create or replace function private.check_google_user_ids(user_ids uuid[]) returns void
language plpgsql
immutable
set search_path = ''
as $$
begin
  if user_ids is null or cardinality(user_ids) > 1000 then
    raise sqlstate 'PT400' using message = 'user_ids must be a list of at most 1000 ids of users';
  end if;
end
$$;
comment on function private.check_google_user_ids(uuid[]) is 'Refuses a list that is missing or too long for one answer of the API.';

create or replace function public.store_google_tokens(
  user_id uuid, key_id text, sealed_refresh_token text, sealed_access_token text default null,
  expires_in_seconds integer default null, scopes text[] default '{}'
)
returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_variable
declare
  v_deleting boolean;
  v_replaced boolean;
begin
  -- Said here, so that no constraint's message ever repeats a row.
  if key_id is null or key_id !~ '^[A-Za-z0-9_-]{1,40}$' then
    raise sqlstate 'PT400' using message = 'key_id must be 1 to 40 letters, digits, _ or -';
  elsif not private.is_sealed(sealed_refresh_token) then
    raise sqlstate 'PT400' using message = 'sealed_refresh_token must be a sealed token, never a readable one',
      hint = 'It is base64 of version, nonce and ciphertext. Store it with: flowstate tokens connect';
  elsif (sealed_access_token is null) <> (expires_in_seconds is null) then
    raise sqlstate 'PT400' using message = 'expires_in_seconds must come with sealed_access_token, and only with it';
  elsif sealed_access_token is not null and not private.is_sealed(sealed_access_token) then
    raise sqlstate 'PT400' using message = 'sealed_access_token must be a sealed token, never a readable one';
  elsif expires_in_seconds not between 1 and 31622400 then
    raise sqlstate 'PT400' using message = 'expires_in_seconds must be an integer from 1 to 31622400';
  elsif scopes is null or cardinality(scopes) > 100 or exists (
          select from unnest(scopes) s(scope) where s.scope is null or s.scope !~ '^[\x21-\x7e]{1,250}$') then
    raise sqlstate 'PT400' using message = 'scopes must be at most 100 scopes of 1 to 250 characters without blanks';
  end if;
  select p.deletion_requested_at is not null into v_deleting
    from public.user_profiles p where p.user_id = store_google_tokens.user_id;
  if not found then
    raise sqlstate 'PT404' using message = format('user_id: there is no user %s', user_id);
  elsif v_deleting then
    raise sqlstate 'PT409' using message = format('user_id: the user %s is being deleted', user_id);
  end if;

  -- A new consent: whatever was known of the old one is over, also a refresh that is under way.
  insert into private.google_tokens as t
    (user_id, key_id, sealed_refresh_token, sealed_access_token, access_expires_at, scopes, next_refresh_at)
  select user_id, key_id, sealed_refresh_token, sealed_access_token, e.at, scopes, coalesce(e.at, clock_timestamp())
    from (select clock_timestamp() + make_interval(secs => expires_in_seconds) as at) e
  on conflict on constraint google_tokens_pkey do update
    set key_id = excluded.key_id, sealed_refresh_token = excluded.sealed_refresh_token,
        sealed_access_token = excluded.sealed_access_token, access_expires_at = excluded.access_expires_at,
        scopes = excluded.scopes, status = 'active', reason = null, version = t.version + 1, failures = 0,
        retry_at = null, refresher_id = null, refresh_lease_token = null, refresh_lease_until = null,
        next_refresh_at = excluded.next_refresh_at, last_used_at = clock_timestamp(), created_at = clock_timestamp()
  returning t.version > 1 into v_replaced;
  perform private.record_activity('google.connected', user_id, 'google_token', null,
                                  jsonb_build_object('scopes', scopes, 'replaced', v_replaced));
  return jsonb_build_object('user_id', user_id, 'status', 'active', 'replaced', v_replaced);
end
$$;
comment on function public.store_google_tokens(uuid, text, text, text, integer, text[]) is
'Keeps the sealed tokens of a user who has consented; the ones before are replaced. Service role only.';

create or replace function public.get_google_tokens(user_ids uuid[])
returns table (
  user_id uuid, status text, reason text, key_id text, sealed_access_token text, expires_in_seconds integer,
  scopes text[], is_refreshing boolean, retry_in_seconds integer
)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
begin
  perform private.check_google_user_ids(user_ids);
  -- Noted once a minute. Who is used again is refreshed ahead again; a row that is being written is in use anyhow.
  update private.google_tokens t
     set last_used_at = clock_timestamp(),
         next_refresh_at = case when t.sealed_refresh_token is not null
                                then greatest(least(t.next_refresh_at, t.access_expires_at), t.retry_at) end
    from (select u.user_id from private.google_tokens u
           where u.user_id = any (user_ids) and u.last_used_at < clock_timestamp() - interval '1 minute'
           order by u.user_id for no key update skip locked) used
   where t.user_id = used.user_id;
  return query
    select t.user_id, t.status, t.reason, t.key_id, t.sealed_access_token,
           floor(extract(epoch from t.access_expires_at - clock_timestamp()))::integer, t.scopes,
           coalesce(t.refresh_lease_until > clock_timestamp(), false),
           ceil(extract(epoch from t.retry_at - clock_timestamp()))::integer
      from private.google_tokens t
     where t.user_id = any (user_ids)
     order by t.user_id;
end
$$;
comment on function public.get_google_tokens(uuid[]) is
'Sealed access tokens and their state, for users who are connected; notes that they are in use. Service role only.';

create or replace function private.forget_google(user_id uuid)
returns table (key_id text, sealed_refresh_token text)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
begin
  return query
    delete from private.google_tokens t where t.user_id = forget_google.user_id
    returning t.key_id, t.sealed_refresh_token;
  if found then
    perform private.record_activity('google.disconnected', forget_google.user_id, 'google_token', null, '{}');
  end if;
end
$$;
comment on function private.forget_google(uuid) is 'Removes a connection and answers what was sealed; a refresh under way finds nothing.';

create or replace function public.disconnect_google(user_id uuid) returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_key_id text;
  v_sealed text;
begin
  if user_id is null then
    raise sqlstate 'PT400' using message = 'user_id must be the id of a user';
  end if;
  select f.key_id, f.sealed_refresh_token into v_key_id, v_sealed from private.forget_google(user_id) f;
  return jsonb_build_object('disconnected', found, 'key_id', v_key_id, 'sealed_refresh_token', v_sealed);
end
$$;
comment on function public.disconnect_google(uuid) is
'Removes a user''s connection, and answers the sealed token once more, so that the caller can end the grant at Google. Service role only.';

create or replace function public.get_my_google_connection() returns jsonb
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  v_connection jsonb;
begin
  if auth.uid() is null then
    raise sqlstate 'PT401' using
      message = 'get_my_google_connection tells of the signed-in user, and nobody is signed in',
      hint = 'Call it with a user''s access token.';
  end if;
  select jsonb_build_object(
           'status', t.status, 'scopes', t.scopes, 'connected_at', t.created_at, 'last_used_at', t.last_used_at,
           'advice', case t.status
             when 'revoked' then 'Google no longer accepts this connection. Connect your Google account again.'
             when 'failing' then 'Google could not be asked for a new token. It is tried again by itself.' end)
    into v_connection from private.google_tokens t where t.user_id = auth.uid();
  return coalesce(v_connection, jsonb_build_object(
    'status', 'none', 'scopes', jsonb_build_array(), 'connected_at', null, 'last_used_at', null,
    'advice', 'Connect your Google account.'));
end
$$;
comment on function public.get_my_google_connection() is 'Your connection to Google: none, active, failing or revoked, and what to do.';

create or replace function public.disconnect_my_google() returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
begin
  if auth.uid() is null then
    raise sqlstate 'PT401' using message = 'disconnect_my_google acts for the signed-in user, and nobody is signed in',
      hint = 'Call it with a user''s access token.';
  end if;
  perform 1 from private.forget_google(auth.uid());
  return jsonb_build_object(
    'disconnected', found,
    'advice', 'The tokens are deleted. To withdraw your consent at Google too: https://myaccount.google.com/connections');
end
$$;
comment on function public.disconnect_my_google() is 'Deletes your Google tokens here; flows that need them fail from now on.';

revoke execute on function private.is_sealed(text) from public;
revoke execute on function private.check_google_user_ids(uuid[]) from public;
revoke execute on function private.forget_google(uuid) from public;
revoke execute on function public.store_google_tokens(uuid, text, text, text, integer, text[])
from public, anon, authenticated, service_role;
grant execute on function public.store_google_tokens(uuid, text, text, text, integer, text[]) to service_role;
revoke execute on function public.get_google_tokens(uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.get_google_tokens(uuid[]) to service_role;
revoke execute on function public.disconnect_google(uuid) from public, anon, authenticated, service_role;
grant execute on function public.disconnect_google(uuid) to service_role;
revoke execute on function public.get_my_google_connection() from public, anon, authenticated, service_role;
grant execute on function public.get_my_google_connection() to authenticated;
revoke execute on function public.disconnect_my_google() from public, anon, authenticated, service_role;
grant execute on function public.disconnect_my_google() to authenticated;
