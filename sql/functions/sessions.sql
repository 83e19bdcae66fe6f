-- Sessions: begun, closed and deleted by their user or a service, and pruned after the log retention of the tier.

create or replace function public.start_session(
  title text default null, metadata jsonb default '{}', session_id uuid default null, user_id uuid default null
)
returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_variable
declare
  v_most constant integer := 1000;
  v_user uuid := coalesce(user_id, auth.uid());
  v_session public.sessions;
begin
  if v_user is null and private.is_service() then
    raise sqlstate 'PT400' using message = 'user_id must name whose session it is, as nobody is signed in';
  elsif v_user is null then
    raise sqlstate 'PT401' using message = 'start_session acts for the signed-in user, and nobody is signed in',
      hint = 'Call it with a user''s access token.';
  elsif v_user is distinct from auth.uid() and not private.is_service() then
    raise sqlstate 'PT403' using message = 'user_id: you can start sessions of your own only', hint = 'Leave user_id out.';
  elsif length(title) not between 1 and 200 then
    raise sqlstate 'PT400' using message = format('title must be a text of 1 to 200 characters, not of %s', length(title));
  elsif metadata is null or jsonb_typeof(metadata) <> 'object' or octet_length(metadata::text) > 8192 then
    raise sqlstate 'PT400' using message = 'metadata must be a JSON object of at most 8192 bytes';
  end if;
  perform private.hold_context(v_user);

  select * into v_session from public.sessions s where s.id = start_session.session_id;
  if found and v_session.user_id <> v_user then
    raise sqlstate 'PT409' using message = 'session_id: this id is taken', hint = 'Choose a random uuid, or leave it out.';
  elsif not found then
    if (select count(*) from public.sessions s where s.user_id = v_user) >= v_most then
      raise sqlstate 'PT413' using message = format('you have %s sessions, and that is the most', v_most),
        hint = 'Delete some with delete_session.';
    end if;
    insert into public.sessions (id, user_id, title, metadata)
    values (coalesce(session_id, gen_random_uuid()), v_user, title, metadata)
    returning * into v_session;
  end if;
  return jsonb_build_object('session_id', v_session.id, 'state', v_session.state, 'created_at', v_session.created_at);
end
$$;
comment on function public.start_session(text, jsonb, uuid, uuid) is
'Starts a session of yours. With session_id, an id of your choice, a repeated call finds the session. A service names the user_id.';

create or replace function public.close_session(session_id uuid) returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_session public.sessions := private.find_session(session_id);
begin
  update public.sessions s
     set state = 'closed', closed_at = clock_timestamp(), last_active_at = clock_timestamp()
   where s.id = v_session.id and s.state = 'active';
  select * into v_session from public.sessions s where s.id = v_session.id;
  return jsonb_build_object('session_id', v_session.id, 'state', v_session.state, 'closed_at', v_session.closed_at);
end
$$;
comment on function public.close_session(uuid) is
'Closes a session of yours: it takes no more commands and snapshots, and stays readable for the log retention of your tier.';

create or replace function public.delete_session(session_id uuid) returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_batch constant integer := 20000;
  v_session public.sessions := private.find_session(session_id);
  v_commands integer;
begin
  select * into v_session from public.sessions s where s.id = v_session.id for update;
  delete from public.command_history h
   using (select c.ordinal, c.recorded_at from public.command_history c where c.session_id = v_session.id limit v_batch) c
   where h.session_id = v_session.id and h.ordinal = c.ordinal and h.recorded_at = c.recorded_at;
  get diagnostics v_commands = row_count;
  if v_commands < v_batch then
    delete from public.sessions s where s.id = v_session.id;
  end if;
  return jsonb_build_object('deleted', v_commands < v_batch, 'commands', v_commands,
                            'freed_bytes', case when v_commands < v_batch then v_session.context_bytes else 0 end);
end
$$;
comment on function public.delete_session(uuid) is
'Deletes a session of yours with its snapshots and commands. Call it again until deleted is true: 20,000 commands go in a call.';

create or replace function private.prune_sessions(most integer) returns integer
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_from private.housekeeping_marks;
  v_seen record;
  v_pruned integer;
begin
  -- Sessions of tiers with a longer retention stand among those that are due: a walk through all that are past the
  -- shortest one, so many in a call, which begins again when it has reached the end.
  select * into v_from from private.housekeeping_marks m where m.step = 'prune_sessions';
  with seen as materialized (
    select s.id, s.user_id, s.last_active_at from public.sessions s
     where (s.last_active_at, s.id) > (coalesce(v_from.reached_at, '-infinity'),
                                       coalesce(v_from.reached_id, '00000000-0000-0000-0000-000000000000'))
       and s.last_active_at <= clock_timestamp() - (select make_interval(days => min(t.log_retention_days))
                                                      from public.subscription_tiers t)
     order by s.last_active_at, s.id
     limit most
  ),
  -- One that is being used right now is left to the next round.
  due as materialized (
    select s.id from public.sessions s
      join seen n on n.id = s.id and n.last_active_at = s.last_active_at
      join private.effective_limits l on l.user_id = s.user_id
     where s.last_active_at <= clock_timestamp() - make_interval(days => l.log_retention_days)
       for update of s skip locked
  ),
  gone as (
    delete from public.sessions s using due d where s.id = d.id returning s.id
  )
  select count(*) as n, (select count(*) from gone) as pruned,
         (array_agg(n.last_active_at order by n.last_active_at desc, n.id desc))[1] as reached_at,
         (array_agg(n.id order by n.last_active_at desc, n.id desc))[1] as reached_id
    into v_seen from seen n;
  delete from private.housekeeping_marks m where m.step = 'prune_sessions';
  if v_seen.n = most then
    insert into private.housekeeping_marks (step, reached_at, reached_id)
    values ('prune_sessions', v_seen.reached_at, v_seen.reached_id);
  end if;
  return v_seen.pruned;
end
$$;
comment on function private.prune_sessions(integer) is
'Removes sessions that were closed or idle for longer than their user''s log retention, with their snapshots. Looks at so many in a call.';

revoke execute on function public.start_session(text, jsonb, uuid, uuid) from public, anon, authenticated, service_role;
grant execute on function public.start_session(text, jsonb, uuid, uuid) to authenticated, service_role;
revoke execute on function public.close_session(uuid) from public, anon, authenticated, service_role;
grant execute on function public.close_session(uuid) to authenticated, service_role;
revoke execute on function public.delete_session(uuid) from public, anon, authenticated, service_role;
grant execute on function public.delete_session(uuid) to authenticated, service_role;
revoke execute on function private.prune_sessions(integer) from public;
