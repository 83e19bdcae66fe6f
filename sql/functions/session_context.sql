-- Context of sessions: commands and snapshots. The signed-in user acts on their own sessions, a service on anyone's.

create or replace function private.find_session(session_id uuid) returns public.sessions
language plpgsql
stable
set search_path = ''
as $$
declare
  v_session public.sessions;
begin
  if auth.uid() is null and not private.is_service() then
    raise sqlstate 'PT401' using message = 'sessions belong to the signed-in user, and nobody is signed in',
      hint = 'Call it with a user''s access token.';
  end if;
  select * into v_session from public.sessions s
   where s.id = find_session.session_id and (auth.uid() is null or s.user_id = auth.uid());
  if not found then
    raise sqlstate 'PT404' using message = format('session_id: there is no session %s', find_session.session_id),
      hint = 'Check the id; you can use your own sessions only. One that was idle for long is removed.';
  end if;
  return v_session;
end
$$;
comment on function private.find_session(uuid) is 'A session that the caller may act on; 404 for any other.';

create or replace function private.hold_context(user_id uuid) returns bigint
language plpgsql
set search_path = ''
as $$
declare
  v_limits private.effective_limits;
begin
  -- The profile first: a deletion of the user comes before all of this, or after it.
  perform 1 from public.user_profiles p where p.user_id = hold_context.user_id for key share;
  insert into private.context_usage (user_id)
  select p.user_id from public.user_profiles p where p.user_id = hold_context.user_id
  on conflict do nothing;
  perform 1 from private.context_usage u where u.user_id = hold_context.user_id for update;
  if not found then
    raise sqlstate 'PT404' using message = format('user_id: there is no user %s', hold_context.user_id);
  end if;
  select * into v_limits from private.effective_limits e where e.user_id = hold_context.user_id;
  if v_limits.suspended then
    raise sqlstate 'PT403' using message = 'your account is suspended: nothing is stored',
      hint = 'Your data stays readable. Ask support.';
  end if;
  return v_limits.context_limit_bytes;
end
$$;
comment on function private.hold_context(uuid) is
'Locks the row of a user whose context grows, and answers how many bytes they may keep. Refuses who is suspended.';

create or replace function private.hold_open_session(session_id uuid) returns public.sessions
language plpgsql
set search_path = ''
as $$
declare
  v_session public.sessions;
begin
  select * into v_session from public.sessions s where s.id = hold_open_session.session_id for no key update;
  if not found then
    raise sqlstate 'PT404' using message = format('session_id: there is no session %s', hold_open_session.session_id),
      hint = 'It was deleted a moment ago. Start another one.';
  elsif v_session.state = 'closed' then
    raise sqlstate 'PT409' using message = 'session_id: the session is closed', hint = 'Start another one.';
  end if;
  return v_session;
end
$$;
comment on function private.hold_open_session(uuid) is 'Locks a session, after the row of its user. 409 when it is closed.';

create or replace function private.active_at(last_active_at timestamptz) returns timestamptz
language sql
volatile
set search_path = ''
as $$
  -- An index stands on it: it moves once a minute at most, and updates in between stay within their page.
  select case when last_active_at > clock_timestamp() - interval '1 minute' then last_active_at else clock_timestamp() end
$$;
comment on function private.active_at(timestamptz) is 'When a session was last active, given what is noted, to the minute.';

create or replace function private.refuse_command(most integer) returns void
language plpgsql
set search_path = ''
as $$
declare
  v_seconds integer := ceil(extract(epoch from
    (date_trunc('day', clock_timestamp() at time zone 'UTC') + interval '1 day') at time zone 'UTC' - clock_timestamp()));
begin
  raise sqlstate 'PGRST' using
    message = jsonb_build_object(
      'code', 'PT429',
      'message', format('command: you have recorded %s commands today, and that is the most', most),
      'details', jsonb_build_object('limit', most, 'remaining', 0, 'retry_after_seconds', v_seconds)::text,
      'hint', 'Nothing was recorded. The next day (UTC) begins anew.')::text,
    detail = jsonb_build_object(
      'status', 429, 'headers', jsonb_build_object('Retry-After', v_seconds::text))::text;
end
$$;
comment on function private.refuse_command(integer) is 'Tells who has recorded too many commands when they can go on: 429.';

create or replace function public.record_command(
  session_id uuid, command text, arguments jsonb default '{}', outcome text default 'succeeded',
  ordinal integer default null, execution_id uuid default null, duration_ms integer default null
)
returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_variable
declare
  v_most constant integer := 10000;
  v_session public.sessions := private.find_session(session_id);
  v_today date := (clock_timestamp() at time zone 'UTC')::date;
  v_known public.command_history;
begin
  if command is null or length(command) not between 1 and 2000 then
    raise sqlstate 'PT400' using message = format('command must be a text of 1 to 2000 characters, not of %s', coalesce(length(command), 0));
  elsif arguments is null or jsonb_typeof(arguments) <> 'object' or octet_length(arguments::text) > 8192 then
    raise sqlstate 'PT400' using message = 'arguments must be a JSON object of at most 8192 bytes';
  elsif outcome is null or outcome not in ('succeeded', 'failed', 'cancelled') then
    raise sqlstate 'PT400' using message = 'outcome must be succeeded, failed or cancelled';
  elsif duration_ms < 0 then
    raise sqlstate 'PT400' using message = format('duration_ms must be at least 0, not %s', duration_ms);
  end if;
  perform private.hold_context(v_session.user_id);
  v_session := private.hold_open_session(session_id);

  if ordinal <> v_session.command_count + 1 then
    select * into v_known from public.command_history h where h.session_id = v_session.id and h.ordinal = record_command.ordinal;
    if found and (v_known.command, v_known.arguments, v_known.outcome) = (command, arguments, outcome) then
      return jsonb_build_object('ordinal', ordinal, 'duplicate', true);
    end if;
    raise sqlstate 'PT409' using message = format('ordinal: the next command of the session is number %s, not %s',
                                                  v_session.command_count + 1, ordinal),
      hint = 'Somebody else records in this session, or a command was recorded before. Read command_count, or leave ordinal out.';
  end if;
  update private.context_usage u
     set commands = case when u.commands_on = v_today then u.commands + 1 else 1 end, commands_on = v_today
   where u.user_id = v_session.user_id and (u.commands_on <> v_today or u.commands < v_most);
  if not found then
    perform private.refuse_command(v_most);
  end if;
  insert into public.command_history
    (session_id, ordinal, user_id, command, arguments, outcome, execution_id, duration_ms)
  values (v_session.id, v_session.command_count + 1, v_session.user_id, command, arguments, outcome,
          execution_id, duration_ms);
  update public.sessions s
     set command_count = s.command_count + 1, last_active_at = private.active_at(s.last_active_at)
   where s.id = v_session.id;
  return jsonb_build_object('ordinal', v_session.command_count + 1, 'duplicate', false);
end
$$;
comment on function public.record_command(uuid, text, jsonb, text, integer, uuid, integer) is
'Adds a command to a session of yours. With ordinal, the number it is to have, a repeated call is recognised.';

create or replace function public.save_context_snapshot(session_id uuid, content jsonb, version integer default null)
returns integer
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_variable
declare
  v_most constant integer := 1000;
  v_session public.sessions := private.find_session(session_id);
  v_size bigint := octet_length(content::text);
  v_limit bigint;
  v_used bigint;
begin
  if content is null or jsonb_typeof(content) not in ('object', 'array') then
    raise sqlstate 'PT400' using message = format('content must be a JSON object or list, not %s', coalesce(jsonb_typeof(content), 'nothing'));
  end if;
  v_limit := private.hold_context(v_session.user_id);
  v_session := private.hold_open_session(session_id);

  if version <> v_session.context_version + 1 then
    if exists (select 1 from public.context_snapshots c
                where c.session_id = v_session.id and c.version = save_context_snapshot.version
                  and c.content = save_context_snapshot.content) then
      return version;
    end if;
    raise sqlstate 'PT409' using message = format('version: the next snapshot of the session is version %s, not %s',
                                                  v_session.context_version + 1, version),
      hint = 'Somebody else saved in between. Read the latest snapshot, and save what follows from it.';
  end if;
  select coalesce(sum(s.context_bytes), 0) into v_used from public.sessions s where s.user_id = v_session.user_id;
  if v_used + v_size > v_limit then
    raise sqlstate 'PT413' using
      message = format('content: %s bytes beside the %s that you keep are more than the %s of your tier',
                       v_size, v_used, v_limit),
      detail = jsonb_build_object('size', v_size, 'used', v_used, 'limit', v_limit)::text,
      hint = 'Nothing was stored. Make room with delete_context_snapshots or delete_session, or store less.';
  elsif (select count(*) from public.context_snapshots c where c.session_id = v_session.id) >= v_most then
    raise sqlstate 'PT413' using message = format('session_id: the session has %s snapshots, and that is the most', v_most),
      hint = 'Nothing was stored. Make room with delete_context_snapshots.';
  end if;
  insert into public.context_snapshots (session_id, version, user_id, size_bytes, content)
  values (v_session.id, v_session.context_version + 1, v_session.user_id, v_size, content);
  update public.sessions s
     set context_version = s.context_version + 1, context_bytes = s.context_bytes + v_size,
         last_active_at = private.active_at(s.last_active_at)
   where s.id = v_session.id;
  return v_session.context_version + 1;
end
$$;
comment on function public.save_context_snapshot(uuid, jsonb, integer) is
'Saves the context of a session of yours; answers its version. With version, the one it is to have, a repeated call is recognised and two writers do not overwrite each other. 413 over the limit of your tier.';

create or replace function public.get_context_snapshot(session_id uuid, version integer default null) returns jsonb
language plpgsql
stable
security definer
set search_path = ''
as $$
#variable_conflict use_variable
declare
  v_session public.sessions := private.find_session(session_id);
  v_snapshot public.context_snapshots;
begin
  select * into v_snapshot from public.context_snapshots c
   where c.session_id = v_session.id and (get_context_snapshot.version is null or c.version = get_context_snapshot.version)
   order by c.version desc limit 1;
  if not found then
    raise sqlstate 'PT404' using
      message = case when version is null then 'session_id: the session has no snapshot'
                     else format('version: the session has no snapshot %s', version) end,
      hint = 'List context_snapshots of the session to find its versions.';
  end if;
  return jsonb_build_object('session_id', v_snapshot.session_id, 'version', v_snapshot.version,
                            'size_bytes', v_snapshot.size_bytes, 'created_at', v_snapshot.created_at,
                            'content', v_snapshot.content);
end
$$;
comment on function public.get_context_snapshot(uuid, integer) is 'A snapshot of a session of yours; the latest when no version is named.';

create or replace function public.delete_context_snapshots(session_id uuid, keep integer) returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_variable
declare
  v_session public.sessions := private.find_session(session_id);
  v_deleted integer;
  v_freed bigint;
begin
  if keep is null or keep not between 0 and 1000 then
    raise sqlstate 'PT400' using message = format('keep must be an integer from 0 to 1000, not %s', coalesce(keep::text, 'null')),
      hint = 'It is how many of the latest snapshots stay.';
  end if;
  select * into v_session from public.sessions s where s.id = v_session.id for no key update;
  with gone as (
    delete from public.context_snapshots c
     where c.session_id = v_session.id
       and c.version not in (select k.version from public.context_snapshots k
                              where k.session_id = v_session.id order by k.version desc limit keep)
    returning c.size_bytes
  )
  select count(*), coalesce(sum(g.size_bytes), 0) into v_deleted, v_freed from gone g;
  update public.sessions s set context_bytes = s.context_bytes - v_freed where s.id = v_session.id;
  return jsonb_build_object('deleted', v_deleted, 'freed_bytes', v_freed);
end
$$;
comment on function public.delete_context_snapshots(uuid, integer) is
'Deletes the snapshots of a session of yours but for the latest so many, and frees their bytes.';

revoke execute on function private.find_session(uuid) from public;
revoke execute on function private.hold_context(uuid) from public;
revoke execute on function private.hold_open_session(uuid) from public;
revoke execute on function private.active_at(timestamptz) from public;
revoke execute on function private.refuse_command(integer) from public;
revoke execute on function public.record_command(uuid, text, jsonb, text, integer, uuid, integer)
from public, anon, authenticated, service_role;
grant execute on function public.record_command(uuid, text, jsonb, text, integer, uuid, integer)
to authenticated, service_role;
revoke execute on function public.save_context_snapshot(uuid, jsonb, integer)
from public, anon, authenticated, service_role;
grant execute on function public.save_context_snapshot(uuid, jsonb, integer) to authenticated, service_role;
revoke execute on function public.get_context_snapshot(uuid, integer) from public, anon, authenticated, service_role;
grant execute on function public.get_context_snapshot(uuid, integer) to authenticated, service_role;
revoke execute on function public.delete_context_snapshots(uuid, integer)
from public, anon, authenticated, service_role;
grant execute on function public.delete_context_snapshots(uuid, integer) to authenticated, service_role;
