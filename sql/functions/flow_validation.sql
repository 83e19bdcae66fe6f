-- What a flow may say. The one truth for clients, the command line and the far side's own check.

create or replace function private.flow_step_arguments()
returns table (step_type text, argument text, kind text, required boolean, lowest integer, highest integer)
language sql
immutable
set search_path = ''
as $$
  values
    ('gmail.search', 'query', 'string', true, null::integer, null::integer),
    ('gmail.search', 'max', 'integer', false, 1, 100),
    ('gmail.label', 'threads', 'array', true, null, null),
    ('gmail.label', 'label', 'string', true, null, null),
    ('gmail.label', 'remove', 'boolean', false, null, null),
    ('gmail.archive', 'threads', 'array', true, null, null),
    ('gmail.draft', 'to', 'string', true, null, null),
    ('gmail.draft', 'subject', 'string', true, null, null),
    ('gmail.draft', 'body', 'string', true, null, null),
    ('gmail.draft', 'cc', 'string', false, null, null),
    ('gmail.draft', 'bcc', 'string', false, null, null),
    ('gmail.draft', 'html_body', 'string', false, null, null),
    ('gmail.send', 'to', 'string', true, null, null),
    ('gmail.send', 'subject', 'string', true, null, null),
    ('gmail.send', 'body', 'string', true, null, null),
    ('gmail.send', 'cc', 'string', false, null, null),
    ('gmail.send', 'bcc', 'string', false, null, null),
    ('gmail.send', 'html_body', 'string', false, null, null),
    ('gmail.send', 'reply_to', 'string', false, null, null),
    ('drive.save_attachments', 'threads', 'array', true, null, null),
    ('drive.save_attachments', 'folder', 'string', true, null, null),
    ('drive.save_attachments', 'max', 'integer', false, 1, 100),
    ('drive.create_file', 'name', 'string', true, null, null),
    ('drive.create_file', 'content', 'string', true, null, null),
    ('drive.create_file', 'folder', 'string', false, null, null),
    ('drive.create_file', 'mime_type', 'string', false, null, null),
    ('sheets.append_rows', 'spreadsheet', 'string', true, null, null),
    ('sheets.append_rows', 'rows', 'array', true, null, null),
    ('sheets.append_rows', 'sheet', 'string', false, null, null),
    ('calendar.create_event', 'title', 'string', true, null, null),
    ('calendar.create_event', 'start', 'string', true, null, null),
    ('calendar.create_event', 'end', 'string', true, null, null),
    ('calendar.create_event', 'calendar', 'string', false, null, null),
    ('calendar.create_event', 'description', 'string', false, null, null),
    ('calendar.create_event', 'location', 'string', false, null, null),
    ('calendar.create_event', 'guests', 'array', false, null, null),
    ('transform', 'template', 'any', true, null, null),
    ('transform', 'each', 'array', false, null, null)
$$;
comment on function private.flow_step_arguments() is 'The step types and their arguments. Code.gs implements exactly these.';

create or replace function private.validate_flow_step(step jsonb, path text, earlier text[])
returns table (path_out text, code text, message text)
language plpgsql
immutable
set search_path = ''
as $$
declare
  v_type text := step ->> 'type';
  v_args jsonb := coalesce(step -> 'args', '{}'::jsonb);
  v_known text[] := earlier || array['input'];
begin
  if jsonb_typeof(v_args) is distinct from 'object' then
    return query select path || '.args', 'wrong_type',
      format('args must be an object of arguments, not %s', jsonb_typeof(v_args));
    return;
  end if;
  if v_type is null or not exists (select 1 from private.flow_step_arguments() a where a.step_type = v_type) then
    return query select path || '.type', 'unknown_step',
      format('%s is no step type; known are %s', coalesce(quote_literal(private.plain(v_type, 80)), 'a missing type'),
             (select string_agg(distinct a.step_type, ', ' order by a.step_type) from private.flow_step_arguments() a));
    return;
  end if;

  -- Arguments that are missing, and arguments of the wrong shape. A lone template may become any type.
  return query
    select path || '.args.' || a.argument,
           case when given.value is null then 'missing_argument' else 'wrong_type' end,
           case when given.value is null then format('%s needs the argument %s (%s)', v_type, a.argument, a.kind)
                else format('%s must be %s, not %s', a.argument,
                            case when a.kind = 'integer' and a.lowest is not null
                                 then format('an integer from %s to %s', a.lowest, a.highest)
                                 when a.kind ~ '^[aeiou]' then 'an ' || a.kind
                                 else 'a ' || a.kind end,
                            case when jsonb_typeof(given.value) = 'number' then left(given.value::text, 40)
                                 else jsonb_typeof(given.value) end)
           end
      from private.flow_step_arguments() a
      cross join lateral (select v_args -> a.argument as value) given
     where a.step_type = v_type
       and case
             when given.value is null then a.required
             when a.kind = 'any' then false
             when given.value #>> '{}' ~ '^\s*\{\{[^{}]+\}\}\s*$' and jsonb_typeof(given.value) = 'string' then false
             when a.kind = 'integer' then not private.is_integer_between(given.value, a.lowest, a.highest)
             else jsonb_typeof(given.value) <> a.kind
           end;

  return query
    select path || '.args.' || private.plain(k.key, 80), 'unknown_argument',
           format('%s takes no argument of this name; it takes %s', v_type,
                  (select string_agg(a.argument, ', ') from private.flow_step_arguments() a where a.step_type = v_type))
      from jsonb_object_keys(v_args) k(key)
     where not exists (select 1 from private.flow_step_arguments() a where a.step_type = v_type and a.argument = k.key);

  if v_type = 'transform' and v_args ? 'each' then
    v_known := v_known || array['item'];
  end if;
  -- References may only look back.
  return query
    select distinct path || '.args', 'unknown_reference',
           format('{{%s}} names no earlier step; known here are %s', private.plain(r.expression, 80), array_to_string(v_known, ', '))
      from jsonb_path_query(v_args, 'strict $.** ? (@.type() == "string")') s(value)
      cross join lateral regexp_matches(s.value #>> '{}', '\{\{\s*([^{}]*?)\s*\}\}', 'g') m(groups)
      cross join lateral (select m.groups[1] as expression) r
     where split_part(r.expression, '.', 1) <> all (v_known);
end
$$;
comment on function private.validate_flow_step(jsonb, text, text[]) is 'What is wrong with one step; nothing when it is right.';

create or replace function private.is_integer_between(value jsonb, lowest bigint, highest bigint) returns boolean
language sql
immutable
set search_path = ''
as $$
  select case when jsonb_typeof(value) = 'number'
              then (value::numeric) = trunc(value::numeric)
                   and (lowest is null or value::numeric >= lowest) and (highest is null or value::numeric <= highest)
              else false end
$$;
comment on function private.is_integer_between(jsonb, bigint, bigint) is 'Whether a JSON value is a whole number in a range.';

create or replace function public.validate_flow_definition(definition jsonb)
returns table (path text, code text, message text)
language plpgsql
immutable
security definer
set search_path = ''
as $$
declare
  v_steps jsonb := definition -> 'steps';
  v_step jsonb;
  v_name text;
  v_index integer := 0;
  v_earlier text[] := '{}';
begin
  if definition is null or jsonb_typeof(definition) <> 'object' then
    return query select 'definition', 'wrong_type', 'a flow is an object {"steps": [...]}'::text;
    return;
  end if;
  if octet_length(definition::text) > 262144 then
    return query select 'definition', 'too_large',
      format('the flow has %s bytes; at most 262144 (256 KB) are allowed', octet_length(definition::text));
    return;
  end if;
  if v_steps is null or jsonb_typeof(v_steps) <> 'array' or jsonb_array_length(v_steps) not between 1 and 20 then
    return query select 'steps', 'wrong_type', 'steps must be a list of 1 to 20 steps'::text;
    return;
  end if;
  return query
    select private.plain(k.key, 80), 'unknown_field', 'a flow has only the field steps'::text
      from jsonb_object_keys(definition) k(key) where k.key <> 'steps';

  for v_step in select s.value from jsonb_array_elements(v_steps) s(value) loop
    if jsonb_typeof(v_step) <> 'object' then
      return query select format('steps[%s]', v_index), 'wrong_type',
        format('a step is an object {"name", "type", "args"}, not %s', jsonb_typeof(v_step));
    else
      v_name := v_step ->> 'name';
      if v_name is null or jsonb_typeof(v_step -> 'name') <> 'string' or v_name !~ '^[a-z][a-z0-9_]{0,39}$'
         or v_name in ('input', 'item') then
        return query select format('steps[%s].name', v_index), 'invalid_name',
          'name must be 1 to 40 of a-z, 0-9 and _, start with a letter, and be neither input nor item'::text;
      elsif v_name = any (v_earlier) then
        return query select format('steps[%s].name', v_index), 'duplicate_name',
          format('another step is called %s already', v_name);
      end if;
      return query
        select format('steps[%s].%s', v_index, private.plain(k.key, 80)), 'unknown_field',
               'a step has only the fields name, type and args'::text
          from jsonb_object_keys(v_step) k(key) where k.key not in ('name', 'type', 'args');
      return query
        select * from private.validate_flow_step(v_step, format('steps[%s]', v_index), v_earlier);
      if v_name is not null then
        v_earlier := v_earlier || v_name;
      end if;
    end if;
    v_index := v_index + 1;
  end loop;
end
$$;
comment on function public.validate_flow_definition(jsonb) is
'Everything that is wrong with a flow: path, code, message. No rows: it is valid.';

create or replace function private.check_flow() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_problem record;
  v_count integer := 0;
  v_messages text[] := '{}';
begin
  if tg_op = 'UPDATE' then
    new.updated_at := now();
    if new.user_id <> old.user_id then
      raise sqlstate 'PT400' using message = 'user_id: a flow cannot change its owner',
        hint = 'Create the flow again for the other user.';
    end if;
    if new.definition = old.definition then
      new.version := old.version;
      return new;
    end if;
    new.version := old.version + 1;
  else
    new.version := 1;
  end if;
  for v_problem in select * from public.validate_flow_definition(new.definition) loop
    v_count := v_count + 1;
    if v_count <= 10 then
      v_messages := v_messages || format('%s: %s', v_problem.path, v_problem.message);
    end if;
  end loop;
  if v_count > 0 then
    raise sqlstate 'PT400' using
      message = 'definition is not a valid flow: ' || v_messages[1],
      detail = array_to_string(v_messages, E'\n'),
      hint = 'Correct the flow; `flowstate flows validate` lists all problems.';
  end if;
  return new;
end
$$;
comment on function private.check_flow() is 'Trigger: an invalid flow is not stored; the version goes up with the definition.';

create or replace trigger check_flow before insert or update on public.flows
for each row execute function private.check_flow();

create or replace function private.keep_flow_version() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  insert into public.flow_versions (flow_id, version, user_id, definition)
  values (new.id, new.version, new.user_id, new.definition)
  on conflict do nothing;
  return new;
end
$$;
comment on function private.keep_flow_version() is 'Trigger: each definition is kept, so that an execution runs what it was accepted with.';

create or replace trigger keep_flow_version after insert or update of definition on public.flows
for each row execute function private.keep_flow_version();

revoke execute on function private.flow_step_arguments() from public;
revoke execute on function private.validate_flow_step(jsonb, text, text[]) from public;
revoke execute on function private.is_integer_between(jsonb, bigint, bigint) from public;
revoke execute on function private.check_flow() from public;
revoke execute on function private.keep_flow_version() from public;
revoke execute on function public.validate_flow_definition(jsonb) from public, anon, authenticated, service_role;
grant execute on function public.validate_flow_definition(jsonb) to authenticated, service_role;
