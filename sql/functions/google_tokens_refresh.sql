-- Refreshing: one refresher at a time per user, by a lease; outcomes are fenced by its token.

create or replace function private.next_run_of(user_id uuid) returns timestamptz
language sql
stable
set search_path = ''
as $$
  select least(
    (select min(q.run_at) from public.flow_execution_queue q where q.user_id = next_run_of.user_id),
    (select min(s.next_run_at) from public.flow_schedules s
      where s.user_id = next_run_of.user_id and s.paused_at is null))
$$;
comment on function private.next_run_of(uuid) is 'When a flow of this user runs next, as far as it is queued or scheduled.';

create or replace function public.claim_google_token_refreshes(
  refresher_id text, max integer, lead_seconds integer default 600, lease_seconds integer default 120,
  user_ids uuid[] default null
)
returns table (user_id uuid, key_id text, sealed_refresh_token text, lease_token uuid)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_now timestamptz := clock_timestamp();
  v_until timestamptz;
  v_due uuid[];
  v_wanted uuid[];
begin
  if refresher_id is null or length(refresher_id) not between 1 and 200 then
    raise sqlstate 'PT400' using message = 'refresher_id must be a text of 1 to 200 characters, the refresher''s name';
  elsif max is null or max not between 1 and 1000 then
    raise sqlstate 'PT400' using message = format('max must be an integer from 1 to 1000, not %s', max);
  elsif lead_seconds is null or lead_seconds not between 0 and 86400 then
    raise sqlstate 'PT400' using message = format('lead_seconds must be from 0 to 86400, not %s', lead_seconds);
  elsif lease_seconds is null or lease_seconds not between 1 and 3600 then
    raise sqlstate 'PT400' using message = format('lease_seconds must be from 1 to 3600, not %s', lease_seconds);
  elsif user_ids is not null then
    perform private.check_google_user_ids(user_ids);
  end if;
  v_until := v_now + make_interval(secs => lead_seconds);

  if user_ids is null then
    -- By the index; more than is taken, since some are at rest.
    v_due := array(
      select t.user_id from private.google_tokens t
       where t.sealed_refresh_token is not null and t.next_refresh_at <= v_until
         and coalesce(t.retry_at, '-infinity') <= v_now and coalesce(t.refresh_lease_until, '-infinity') <= v_now
       order by t.next_refresh_at limit max * 5 for no key update skip locked);
  else
    -- Asked for: exactly these, as soon as their access token is about to expire.
    v_due := array(
      select t.user_id from private.google_tokens t
       where t.user_id = any (user_ids) and t.sealed_refresh_token is not null
         and coalesce(t.access_expires_at, '-infinity') <= v_until
         and coalesce(t.retry_at, '-infinity') <= v_now and coalesce(t.refresh_lease_until, '-infinity') <= v_now
       order by t.user_id for no key update skip locked);
  end if;
  if v_due = '{}' then
    return;
  end if;

  -- Nothing is done for who is suspended or leaving. Else: asked for, used within a day, or about to be used.
  v_wanted := array(
    select t.user_id
      from private.google_tokens t
      join public.user_profiles p on p.user_id = t.user_id
     where t.user_id = any (v_due) and p.suspended_at is null and p.deletion_requested_at is null
       and (user_ids is not null or t.last_used_at > v_now - interval '1 day' or private.next_run_of(t.user_id) <= v_until)
     order by t.next_refresh_at, t.user_id);
  if user_ids is null then
    -- The others rest: for a quarter of the time since their last use, but not beyond their next run.
    update private.google_tokens t
       set next_refresh_at = least(
             v_now + least(greatest((v_now - t.last_used_at) / 4, interval '15 minutes'), interval '1 day'),
             nullif(greatest(private.next_run_of(t.user_id), v_until), v_until))
     where t.user_id = any (v_due) and t.user_id <> all (v_wanted);
  end if;
  return query
    update private.google_tokens t
       set refresher_id = claim_google_token_refreshes.refresher_id, refresh_lease_token = gen_random_uuid(),
           refresh_lease_until = v_now + make_interval(secs => lease_seconds)
     where t.user_id = any (v_wanted[1:max])
    returning t.user_id, t.key_id, t.sealed_refresh_token, t.refresh_lease_token;
end
$$;
comment on function public.claim_google_token_refreshes(text, integer, integer, integer, uuid[]) is
'Leases tokens that expire within lead_seconds: of users who are active, or of those named. Service role only.';

create or replace function private.check_google_results(results jsonb) returns void
language plpgsql
immutable
set search_path = ''
as $$
declare
  v_bad record;
begin
  if results is null or jsonb_typeof(results) <> 'array' or jsonb_array_length(results) > 1000 then
    raise sqlstate 'PT400' using message = 'results must be a list of at most 1000 items',
      hint = 'Each is {"user_id", "lease_token", "outcome", ...}.';
  end if;
  select e.n - 1 as n, p.problem into v_bad
    from jsonb_array_elements(results) with ordinality e(value, n)
   cross join lateral (
     select case
       when jsonb_typeof(e.value) <> 'object' then 'must be an object'
       when coalesce(e.value ->> 'user_id', '') !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
         then 'user_id must be a uuid'
       when coalesce(e.value ->> 'lease_token', '') !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
         then 'lease_token must be a uuid'
       when coalesce(e.value ->> 'outcome', '') not in ('refreshed', 'revoked', 'failed', 'released')
         then 'outcome must be refreshed, revoked, failed or released'
       when e.value ->> 'outcome' = 'refreshed' and coalesce(e.value ->> 'key_id', '') !~ '^[A-Za-z0-9_-]{1,40}$'
         then 'key_id must be 1 to 40 letters, digits, _ or -'
       when e.value ->> 'outcome' = 'refreshed' and not (
              private.is_sealed(e.value ->> 'sealed_access_token')
              and private.is_sealed(e.value ->> 'sealed_refresh_token'))
         then 'sealed_access_token and sealed_refresh_token must be sealed tokens, never readable ones'
       when not private.is_integer_between(
              coalesce(nullif(e.value -> 'expires_in_seconds', 'null'),
                       case e.value ->> 'outcome' when 'refreshed' then 'null' else '0' end::jsonb), 0, 31622400)
         then 'expires_in_seconds must be an integer from 0 to 31622400'
       when e.value ->> 'outcome' in ('revoked', 'failed') and coalesce(e.value ->> 'reason', '') !~ '^[a-z_]{1,40}$'
         then 'reason must be a category of 1 to 40 lower-case letters and _'
       when not private.is_number_between(e.value -> 'retry_after_seconds', 0, 86400)
         then 'retry_after_seconds must be a number from 0 to 86400'
     end as problem) p
   where p.problem is not null
   order by e.n limit 1;
  if found then
    raise sqlstate 'PT400' using message = format('results[%s]: %s', v_bad.n, v_bad.problem),
      hint = 'Nothing was changed. Correct the item and send the batch again.';
  end if;
end
$$;
comment on function private.check_google_results(jsonb) is
'Refuses a malformed batch as a whole, naming the item and the field, never a value.';

create or replace function public.finish_google_token_refreshes(results jsonb)
returns table (user_id uuid, answer text, status text)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_accepted uuid[];
  v_revoked record;
begin
  perform private.check_google_results(results);
  -- In order of id, as everywhere.
  perform 1 from private.google_tokens t
    where t.user_id in (select (e.value ->> 'user_id')::uuid from jsonb_array_elements(results) e(value))
    order by t.user_id for no key update;

  with items as materialized (
    -- The same user twice in a batch counts once.
    select distinct on (r.user_id) r.*
      from jsonb_array_elements(results) with ordinality e(value, n)
     cross join lateral jsonb_to_record(e.value) r(
       user_id uuid, lease_token uuid, outcome text, key_id text, sealed_refresh_token text, sealed_access_token text,
       expires_in_seconds integer, reason text, retry_after_seconds double precision)
     order by r.user_id, e.n
  ),
  -- The fence: only who holds the lease. Every outcome is written out as the row that it leads to.
  ended as (
    select t.user_id, i.outcome, i.reason, x.*
      from items i
      join private.google_tokens t on t.user_id = i.user_id and t.refresh_lease_token = i.lease_token
     cross join lateral (
       select i.key_id, i.sealed_refresh_token, i.sealed_access_token,
              clock_timestamp() + make_interval(secs => i.expires_in_seconds) as access_expires_at, 'active' as status,
              null::text as why, t.version + 1 as version, 0 as failures, null::timestamptz as retry_at
        where i.outcome = 'refreshed'
       union all
       select null, null, null, null, 'revoked', i.reason, t.version + 1, t.failures, null
        where i.outcome = 'revoked'
       union all
       select t.key_id, t.sealed_refresh_token, t.sealed_access_token, t.access_expires_at, 'failing', i.reason,
              t.version, t.failures + 1, private.google_retry_at(t.failures, i.retry_after_seconds)
        where i.outcome = 'failed'
       union all
       select t.key_id, t.sealed_refresh_token, t.sealed_access_token, t.access_expires_at, t.status, t.reason,
              t.version, t.failures, t.retry_at
        where i.outcome = 'released') x
  ),
  written as (
    update private.google_tokens t
       set key_id = e.key_id, sealed_refresh_token = e.sealed_refresh_token,
           sealed_access_token = e.sealed_access_token, access_expires_at = e.access_expires_at,
           status = e.status, reason = e.why, version = e.version,
           failures = e.failures, retry_at = e.retry_at,
           next_refresh_at = case when e.outcome = 'released' then t.next_refresh_at
                                  else coalesce(e.retry_at, e.access_expires_at) end,
           refresher_id = null, refresh_lease_token = null, refresh_lease_until = null
      from ended e where e.user_id = t.user_id
    returning t.user_id
  )
  select array_agg(w.user_id) into v_accepted from written w;

  -- Those whom it concerns hear of it, and the trail has it.
  for v_revoked in
    select distinct t.user_id, t.reason
      from private.google_tokens t
      join jsonb_array_elements(results) e(value) on (e.value ->> 'user_id')::uuid = t.user_id
     where t.user_id = any (v_accepted) and t.status = 'revoked'
     order by t.user_id
  loop
    perform private.record_activity('google.revoked', v_revoked.user_id, 'google_token', null,
                                    jsonb_build_object('category', v_revoked.reason));
    perform realtime.send('{"status": "revoked"}', 'google_connection', 'user:' || v_revoked.user_id, true);
  end loop;

  return query
    select i.user_id, case when i.user_id = any (v_accepted) then 'accepted' else 'lease_lost' end, t.status
      from (select (e.value ->> 'user_id')::uuid as user_id, e.n
              from jsonb_array_elements(results) with ordinality e(value, n)) i
      left join private.google_tokens t on t.user_id = i.user_id
     order by i.n;
end
$$;
comment on function public.finish_google_token_refreshes(jsonb) is
'Ends refreshes behind their leases: refreshed, revoked (the user is told), failed (tried again later) or released. Service role only.';

create or replace function private.google_retry_at(failures integer, at_least_seconds double precision)
returns timestamptz
language sql
volatile
set search_path = ''
as $$
  -- From half a minute, doubling, to an hour; jittered down to half, and never sooner than Google asked for.
  select clock_timestamp() + make_interval(secs => greatest(
           coalesce(at_least_seconds, 0), (0.5 + random() / 2) * least(3600, 30 * power(2, least(failures, 10)))))
$$;
comment on function private.google_retry_at(integer, double precision) is 'When a failed refresh is tried again.';

revoke execute on function private.next_run_of(uuid) from public;
revoke execute on function private.check_google_results(jsonb) from public;
revoke execute on function private.google_retry_at(integer, double precision) from public;
revoke execute on function public.claim_google_token_refreshes(text, integer, integer, integer, uuid[])
from public, anon, authenticated, service_role;
grant execute on function public.claim_google_token_refreshes(text, integer, integer, integer, uuid[]) to service_role;
revoke execute on function public.finish_google_token_refreshes(jsonb) from public, anon, authenticated, service_role;
grant execute on function public.finish_google_token_refreshes(jsonb) to service_role;
