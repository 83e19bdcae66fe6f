-- The trail: who did what to what, from where. Rows are added here and nowhere else, and chained by hashes.

create or replace function private.current_actor() returns text
language sql
stable
set search_path = ''
as $$
  select case
    when auth.uid() is not null
      then coalesce((select p.role from public.user_profiles p where p.user_id = auth.uid()), 'user')
    -- A service may say who is behind it; what it says is kept to plain characters.
    when auth.role() = 'service_role' then rtrim('service ' || left(regexp_replace(coalesce(
           nullif(current_setting('request.headers', true), '')::jsonb ->> 'x-flowstate-actor', ''),
           '[^A-Za-z0-9@._-]', '', 'g'), 100))
    when session_user = 'authenticator' then coalesce(auth.role(), 'anon')
    when session_user = 'supabase_auth_admin' then 'auth'
    else 'database'
  end
$$;
comment on function private.current_actor() is
'Who acts: a role for a signed-in person, service with the name it gives, auth for the sign-in server, database for a direct connection.';

create or replace function private.current_address() returns inet
language plpgsql
stable
set search_path = ''
as $$
begin
  -- As reported by the proxies in front; the first is the client.
  return trim(split_part(nullif(current_setting('request.headers', true), '')::jsonb ->> 'x-forwarded-for', ',', 1))::inet;
exception
  when invalid_text_representation then
    return null;
end
$$;
comment on function private.current_address() is 'Where the request came from, as the gateway reports it; null when it does not.';

create or replace function private.activity_content_hash(entry public.user_activity_logs) returns bytea
language sql
stable
set search_path = ''
as $$
  select sha256(entry.salt || convert_to(jsonb_build_array(
    entry.user_id, entry.actor_id, entry.actor, entry.object_id, entry.details, host(entry.address))::text, 'UTF8'))
$$;
comment on function private.activity_content_hash(public.user_activity_logs) is 'Hash over what an erasure takes.';

create or replace function private.activity_hash(previous bytea, chain_position bigint, entry public.user_activity_logs)
returns bytea
language sql
stable
set search_path = ''
as $$
  select sha256(previous || convert_to(jsonb_build_array(
    activity_hash.chain_position, entry.id, extract(epoch from entry.occurred_at), entry.action, entry.object_type,
    encode(entry.content_hash, 'hex'))::text, 'UTF8'))
$$;
comment on function private.activity_hash(bytea, bigint, public.user_activity_logs) is
'Hash of a place in the chain: over the place before it and all of the row that stays for ever.';

create or replace function private.record_activity(
  action text, user_id uuid, object_type text, object_id text, details jsonb
)
returns void
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_entry public.user_activity_logs;
begin
  v_entry.id := gen_random_uuid();
  v_entry.user_id := record_activity.user_id;
  v_entry.actor_id := auth.uid();
  v_entry.actor := private.current_actor();
  v_entry.action := record_activity.action;
  v_entry.object_type := record_activity.object_type;
  v_entry.object_id := record_activity.object_id;
  v_entry.details := jsonb_strip_nulls(
    coalesce(record_activity.details, '{}')
    || jsonb_build_object('reason', left(nullif(current_setting('flowstate.reason', true), ''), 500)));
  v_entry.address := private.current_address();
  v_entry.occurred_at := clock_timestamp();
  v_entry.salt := uuid_send(gen_random_uuid());
  v_entry.content_hash := private.activity_content_hash(v_entry);
  insert into public.user_activity_logs select v_entry.*;
end
$$;
comment on function private.record_activity(text, uuid, text, text, jsonb) is
'Adds a row to the trail. Actor, address and reason are found by itself.';

create or replace function private.audit_change() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  -- Arguments: what the object is called; its key; the column with its user, or nothing; and whether values are told.
  v_before jsonb := case when tg_op <> 'INSERT' then to_jsonb(old) - 'updated_at' end;
  v_after jsonb := case when tg_op <> 'DELETE' then to_jsonb(new) - 'updated_at' end;
  v_row jsonb := coalesce(v_after, v_before);
  v_user uuid := (v_row ->> nullif(tg_argv[2], ''))::uuid;
  v_changed text[];
begin
  -- A user who is going takes everything along: that is one event, not one for each row.
  if tg_op = 'DELETE' and v_user is not null
     and not exists (select 1 from public.user_profiles p where p.user_id = v_user) then
    return null;
  end if;
  select array_agg(k.key order by k.key) into v_changed
    from jsonb_object_keys(v_row) k(key)
   where tg_op <> 'UPDATE' or v_before -> k.key is distinct from v_after -> k.key;
  if v_changed is null then
    return null;
  end if;
  perform private.record_activity(
    tg_argv[0] || case tg_op when 'INSERT' then '.created' when 'UPDATE' then '.changed' else '.removed' end,
    v_user, tg_argv[0], v_row ->> tg_argv[1],
    case when tg_argv[3] = 'names' then jsonb_build_object('fields', v_changed)
         else jsonb_build_object(
           'before', (select jsonb_object_agg(k.key, v_before -> k.key) from unnest(v_changed) k(key) where v_before is not null),
           'after', (select jsonb_object_agg(k.key, v_after -> k.key) from unnest(v_changed) k(key) where v_after is not null))
    end);
  return null;
end
$$;
comment on function private.audit_change() is
'Trigger: records a change with before and after, whichever door it came through, Studio included. Of flows only the names of fields.';

create or replace trigger audit_change after insert or update or delete on public.subscription_tiers
for each row execute function private.audit_change('tier', 'tier', '', 'values');
create or replace trigger audit_change after insert or update of tier, role, suspended_at, deletion_requested_at
on public.user_profiles for each row execute function private.audit_change('user', 'user_id', 'user_id', 'values');
create or replace trigger audit_change after insert or update or delete on public.user_limit_overrides
for each row execute function private.audit_change('override', 'user_id', 'user_id', 'values');
create or replace trigger audit_change after insert or update or delete on public.role_permissions
for each row execute function private.audit_change('permission', 'permission', '', 'values');
create or replace trigger audit_change after insert or update or delete on public.load_balancer_config
for each row execute function private.audit_change('balancer', 'id', '', 'values');
create or replace trigger audit_change after insert or delete or update of account_type, max_in_flight
on public.apps_script_owners for each row execute function private.audit_change('owner', 'owner', '', 'values');
create or replace trigger audit_change
after insert or delete or update of name, owner, url, kind, key_id, state, weight, max_in_flight
on public.apps_script_instances for each row execute function private.audit_change('instance', 'name', '', 'values');
create or replace trigger audit_change after insert or update or delete on public.flows
for each row execute function private.audit_change('flow', 'id', 'user_id', 'names');
create or replace trigger audit_change
after insert or delete or update of kind, cron, interval_seconds, time_zone, input, catch_up, jitter_seconds, paused_at
on public.flow_schedules for each row execute function private.audit_change('schedule', 'id', 'user_id', 'names');

create or replace function public.record_user_activity(
  user_id uuid, action text, object_type text default null, object_id text default null, details jsonb default '{}'
)
returns void
language plpgsql
security definer
set search_path = ''
as $$
begin
  if action is null or action !~ '^[a-z_]+[.][a-z_]+$' or length(action) > 100 then
    raise sqlstate 'PT400' using message = 'action must look like invoice.sent: lower-case words joined by one dot, at most 100 characters';
  elsif details is null or jsonb_typeof(details) <> 'object' or octet_length(details::text) > 8192 then
    raise sqlstate 'PT400' using message = 'details must be a JSON object of at most 8192 bytes';
  elsif length(object_type) > 100 or length(object_id) > 200 then
    raise sqlstate 'PT400' using message = 'object_type has at most 100 characters, object_id at most 200';
  elsif not exists (select 1 from public.user_profiles p where p.user_id = record_user_activity.user_id) then
    raise sqlstate 'PT404' using message = format('user_id: there is no user %s', record_user_activity.user_id);
  end if;
  perform private.record_activity(action, record_user_activity.user_id, object_type, object_id, details);
end
$$;
comment on function public.record_user_activity(uuid, text, text, text, jsonb) is
'Adds an event of the product to a user''s trail. Never put content of mail or secrets into details. Service role only.';

revoke execute on function private.current_actor() from public;
revoke execute on function private.current_address() from public;
revoke execute on function private.activity_content_hash(public.user_activity_logs) from public;
revoke execute on function private.activity_hash(bytea, bigint, public.user_activity_logs) from public;
revoke execute on function private.record_activity(text, uuid, text, text, jsonb) from public;
revoke execute on function private.audit_change() from public;
revoke execute on function public.record_user_activity(uuid, text, text, text, jsonb)
from public, anon, authenticated, service_role;
grant execute on function public.record_user_activity(uuid, text, text, text, jsonb) to service_role;
