-- The keys that tokens are sealed with: which are in use, how one takes the place of another, and Vault.

create or replace function public.claim_google_tokens_to_reseal(
  current_key_id text, max integer, after uuid default null
)
returns table (user_id uuid, version bigint, key_id text, sealed_refresh_token text, sealed_access_token text)
language plpgsql
stable
security definer
set search_path = ''
as $$
#variable_conflict use_column
begin
  if current_key_id is null or current_key_id !~ '^[A-Za-z0-9_-]{1,40}$' then
    raise sqlstate 'PT400' using message = 'current_key_id must be 1 to 40 letters, digits, _ or -';
  elsif max is null or max not between 1 and 1000 then
    raise sqlstate 'PT400' using message = format('max must be an integer from 1 to 1000, not %s', max);
  end if;
  -- Nothing is locked: what changes meanwhile has another version then.
  return query
    select t.user_id, t.version, t.key_id, t.sealed_refresh_token, t.sealed_access_token
      from private.google_tokens t
     where t.key_id <> current_key_id and (after is null or t.user_id > after)
     order by t.user_id limit max;
end
$$;
comment on function public.claim_google_tokens_to_reseal(text, integer, uuid) is
'Tokens that are sealed with another key than this, in order of user. Service role only.';

create or replace function public.finish_google_token_reseals(items jsonb)
returns table (user_id uuid, answer text)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_bad record;
begin
  if items is null or jsonb_typeof(items) <> 'array' or jsonb_array_length(items) > 1000 then
    raise sqlstate 'PT400' using message = 'items must be a list of at most 1000 items',
      hint = 'Each is {"user_id", "version", "key_id", "sealed_refresh_token", "sealed_access_token"}.';
  end if;
  select e.n - 1 as n, p.problem into v_bad
    from jsonb_array_elements(items) with ordinality e(value, n)
   cross join lateral (
     select case
       when jsonb_typeof(e.value) <> 'object' then 'must be an object'
       when coalesce(e.value ->> 'user_id', '') !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
         then 'user_id must be a uuid'
       when jsonb_typeof(coalesce(e.value -> 'version', 'null')) <> 'number' or e.value ->> 'version' !~ '^[0-9]{1,18}$'
         then 'version must be an integer'
       when coalesce(e.value ->> 'key_id', '') !~ '^[A-Za-z0-9_-]{1,40}$'
         then 'key_id must be 1 to 40 letters, digits, _ or -'
       when not private.is_sealed(e.value ->> 'sealed_refresh_token')
            or (e.value ->> 'sealed_access_token' is not null
                and not private.is_sealed(e.value ->> 'sealed_access_token'))
         then 'sealed_refresh_token and sealed_access_token must be sealed tokens, never readable ones'
     end as problem) p
   where p.problem is not null
   order by e.n limit 1;
  if found then
    raise sqlstate 'PT400' using message = format('items[%s]: %s', v_bad.n, v_bad.problem),
      hint = 'Nothing was changed. Correct the item and send the batch again.';
  end if;
  perform 1 from private.google_tokens t
    where t.user_id in (select (e.value ->> 'user_id')::uuid from jsonb_array_elements(items) e(value))
    order by t.user_id for no key update;

  return query
  with wanted as materialized (
    select distinct on (r.user_id) r.*, e.n
      from jsonb_array_elements(items) with ordinality e(value, n)
     cross join lateral jsonb_to_record(e.value) r(
       user_id uuid, version bigint, key_id text, sealed_refresh_token text, sealed_access_token text)
     order by r.user_id, e.n
  ),
  -- The fence: what was refreshed, replaced or revoked since it was read is left as it is.
  resealed as (
    update private.google_tokens t
       set key_id = w.key_id, sealed_refresh_token = w.sealed_refresh_token,
           sealed_access_token = w.sealed_access_token, version = t.version + 1
      from wanted w
     where t.user_id = w.user_id and t.version = w.version and t.sealed_refresh_token is not null
       and (t.sealed_access_token is null) = (w.sealed_access_token is null)
    returning t.user_id
  )
  select w.user_id, case when r.user_id is not null then 'resealed'
                         when t.user_id is not null then 'changed' else 'gone' end
    from wanted w
    left join resealed r on r.user_id = w.user_id
    left join private.google_tokens t on t.user_id = w.user_id
   order by w.n;
end
$$;
comment on function public.finish_google_token_reseals(jsonb) is
'Puts tokens under another key, each only if its version is still the one that was read. Service role only.';

create or replace function private.has_vault() returns boolean
language sql
stable
set search_path = ''
as $$
  select to_regclass('vault.decrypted_secrets') is not null
$$;
comment on function private.has_vault() is 'Whether this database has Supabase Vault.';

create or replace function public.get_google_token_keys() returns jsonb
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  v_keys jsonb;
begin
  if private.has_vault() then
    -- Dynamic, since a database without Vault has to be able to hold this function.
    execute $vault$
      select jsonb_object_agg(substr(s.name, length('flowstate_token_key_') + 1), s.decrypted_secret)
        from vault.decrypted_secrets s
       where s.name like 'flowstate\_token\_key\_%'
    $vault$ into v_keys;
  end if;
  return coalesce(v_keys, '{}');
end
$$;
comment on function public.get_google_token_keys() is
'The keys that Vault holds as flowstate_token_key_<id>, by id; none where there is no Vault. Service role only.';

create or replace function public.get_google_token_status() returns jsonb
language sql
stable
security definer
set search_path = ''
as $$
  with counted as materialized (
    select t.key_id, t.status, t.reason, count(*) as n,
           count(*) filter (where t.refresh_lease_until > clock_timestamp()) as refreshing
      from private.google_tokens t group by t.key_id, t.status, t.reason
  )
  select jsonb_build_object(
    'total', (select coalesce(sum(c.n), 0) from counted c),
    'statuses', (select jsonb_object_agg(s.status, coalesce(c.n, 0))
                   from unnest(array['active', 'failing', 'revoked']) s(status)
                   left join (select c.status, sum(c.n) as n from counted c group by c.status) c on c.status = s.status),
    'reasons', (select coalesce(jsonb_object_agg(c.reason, c.n), '{}')
                  from (select c.reason, sum(c.n) as n from counted c where c.reason is not null group by c.reason) c),
    'keys', (select coalesce(jsonb_agg(jsonb_build_object('key_id', c.key_id, 'tokens', c.n) order by c.key_id), '[]')
               from (select c.key_id, sum(c.n) as n from counted c where c.key_id is not null group by c.key_id) c),
    'refreshing', (select coalesce(sum(c.refreshing), 0) from counted c),
    'vault', private.has_vault())
$$;
comment on function public.get_google_token_status() is
'Counts of connections by status, reason and key id; nothing of their content. Service role only.';

revoke execute on function private.has_vault() from public;
revoke execute on function public.claim_google_tokens_to_reseal(text, integer, uuid)
from public, anon, authenticated, service_role;
grant execute on function public.claim_google_tokens_to_reseal(text, integer, uuid) to service_role;
revoke execute on function public.finish_google_token_reseals(jsonb) from public, anon, authenticated, service_role;
grant execute on function public.finish_google_token_reseals(jsonb) to service_role;
revoke execute on function public.get_google_token_keys() from public, anon, authenticated, service_role;
grant execute on function public.get_google_token_keys() to service_role;
revoke execute on function public.get_google_token_status() from public, anon, authenticated, service_role;
grant execute on function public.get_google_token_status() to service_role;
