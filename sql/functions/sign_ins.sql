-- Sign-ins: written by the access token hook, ended by their user or by staff.

create or replace function public.custom_access_token_hook(event jsonb) returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_user uuid := (event ->> 'user_id')::uuid;
  v_session uuid := (event -> 'claims' ->> 'session_id')::uuid;
  v_profile public.user_profiles;
begin
  select * into v_profile from public.user_profiles p where p.user_id = v_user;
  if v_profile.deletion_requested_at is not null then
    return jsonb_build_object('error', jsonb_build_object('http_code', 403, 'message', 'This account is being deleted.'));
  end if;
  if v_session is not null and v_profile.user_id is not null then
    insert into public.user_sessions as s (id, user_id, method, device, address)
    select v_session, v_user, left(event ->> 'authentication_method', 60), left(a.user_agent, 400), a.ip
      from (values (1)) one
      left join auth.sessions a on a.id = v_session
    on conflict on constraint user_sessions_pkey do update
      set last_seen_at = clock_timestamp(), device = coalesce(excluded.device, s.device),
          address = coalesce(excluded.address, s.address)
    where s.ended_at is null;
    if not found then
      return jsonb_build_object('error', jsonb_build_object('http_code', 403, 'message', 'This sign-in was ended.'));
    end if;
    if event ->> 'authentication_method' is distinct from 'token_refresh' then
      -- The trail looks for the address in the request, of which Supabase Auth tells its session only.
      perform set_config('request.headers', jsonb_build_object('x-forwarded-for', host(a.ip))::text, true)
         from auth.sessions a where a.id = v_session;
      perform private.record_activity('session.started', v_user, 'session', v_session::text,
                                      jsonb_build_object('method', event ->> 'authentication_method'));
    end if;
  end if;
  -- For what a client shows. Quotas and permissions read the tables.
  return jsonb_build_object('claims', (event -> 'claims') || jsonb_build_object(
    'user_role', coalesce(v_profile.role, 'user'), 'user_tier', coalesce(v_profile.tier, 'free')));
end
$$;
comment on function public.custom_access_token_hook(jsonb) is
'Supabase Auth calls it for every access token: adds user_role and user_tier, keeps the list of sign-ins, refuses ended ones.';

create or replace function public.revoke_session(session_id uuid) returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_user uuid;
begin
  select s.user_id into v_user from public.user_sessions s where s.id = revoke_session.session_id;
  if v_user is null or (v_user is distinct from auth.uid() and not public.has_permission('sessions.revoke')) then
    raise sqlstate 'PT404' using message = format('session_id: you have no sign-in %s', revoke_session.session_id),
      hint = 'List your sign-ins to find its id.';
  end if;
  if v_user is distinct from auth.uid() then
    perform private.begin_admin_action('sessions.revoke', v_user, null);
  end if;
  return jsonb_build_object('revoked', private.end_sessions(v_user, array[revoke_session.session_id]));
end
$$;
comment on function public.revoke_session(uuid) is
'Ends a sign-in: it gets no new access token; the one it has ends by itself. Somebody else''s needs sessions.revoke.';

create or replace function public.revoke_all_sessions(user_id uuid default null, keep_current boolean default true)
returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_user uuid := coalesce(revoke_all_sessions.user_id, auth.uid());
  v_current uuid := case when keep_current and v_user = auth.uid() then (auth.jwt() ->> 'session_id')::uuid end;
begin
  if v_user is null then
    raise sqlstate 'PT400' using message = 'user_id must name whose sign-ins end, as nobody is signed in';
  elsif v_user is distinct from auth.uid() then
    perform private.begin_admin_action('sessions.revoke', v_user, null);
  end if;
  return jsonb_build_object('revoked', private.end_sessions(
    v_user, array(select s.id from public.user_sessions s
                   where s.user_id = v_user and s.ended_at is null and s.id is distinct from v_current
                   order by s.id)));
end
$$;
comment on function public.revoke_all_sessions(uuid, boolean) is
'Ends all sign-ins of a user; your own but for the current one, unless told otherwise. Somebody else''s needs sessions.revoke.';

create or replace function private.end_sessions(user_id uuid, session_ids uuid[]) returns integer
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_ended uuid[];
begin
  -- Supabase Auth's session first, as when it is refreshed: Auth locks it, and the hook then writes ours.
  perform 1 from auth.sessions a
    where a.id = any (session_ids) and a.user_id = end_sessions.user_id order by a.id for update;
  -- Refresh tokens go with it.
  delete from auth.sessions a where a.id = any (session_ids) and a.user_id = end_sessions.user_id;
  with ended as (
    update public.user_sessions s set ended_at = clock_timestamp(), end_reason = 'revoked'
     where s.id = any (session_ids) and s.user_id = end_sessions.user_id and s.ended_at is null
    returning s.id
  )
  select array_agg(e.id order by e.id) into v_ended from ended e;
  if v_ended is null then
    return 0;
  end if;
  perform private.record_activity('session.revoked', end_sessions.user_id, 'session',
                                  case when cardinality(v_ended) = 1 then v_ended[1]::text end,
                                  jsonb_build_object('sessions', cardinality(v_ended)));
  return cardinality(v_ended);
end
$$;
comment on function private.end_sessions(uuid, uuid[]) is 'Ends sign-ins of a user, here and in Supabase Auth.';

create or replace function private.end_sign_ins(most integer) returns integer
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_ended integer;
begin
  -- Supabase Auth forgets a session when its user signs out. Each is looked at once a day, so the cost stays flat.
  with due as (
    select s.id from public.user_sessions s
     where s.ended_at is null and s.checked_at < clock_timestamp() - interval '1 day'
     order by s.checked_at
     limit most for update skip locked
  )
  update public.user_sessions s
     set checked_at = clock_timestamp(),
         ended_at = case when a.id is null then clock_timestamp() end,
         end_reason = case when a.id is null then 'signed_out' end
    from due d
    left join auth.sessions a on a.id = d.id
   where s.id = d.id;
  with old as (
    select s.id from public.user_sessions s
     where s.ended_at < clock_timestamp() - interval '90 days' limit most for update skip locked
  )
  delete from public.user_sessions s using old o where s.id = o.id;
  get diagnostics v_ended = row_count;
  return v_ended;
end
$$;
comment on function private.end_sign_ins(integer) is
'Notes which sign-ins Supabase Auth has ended, and forgets those that ended 90 days ago; how many were forgotten.';

revoke execute on function public.custom_access_token_hook(jsonb) from public, anon, authenticated, service_role;
grant execute on function public.custom_access_token_hook(jsonb) to supabase_auth_admin;
grant usage on schema public to supabase_auth_admin;
revoke execute on function private.end_sessions(uuid, uuid[]) from public;
revoke execute on function private.end_sign_ins(integer) from public;
revoke execute on function public.revoke_session(uuid) from public, anon, authenticated, service_role;
grant execute on function public.revoke_session(uuid) to authenticated, service_role;
revoke execute on function public.revoke_all_sessions(uuid, boolean) from public, anon, authenticated, service_role;
grant execute on function public.revoke_all_sessions(uuid, boolean) to authenticated, service_role;
