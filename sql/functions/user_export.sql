-- Export: everything that is kept about a user, page by page, for themselves or for staff before a deletion.

create or replace function private.export_datasets()
returns table (dataset text, relation text, keys text[], hidden text[])
language sql
immutable
set search_path = ''
as $$
  -- Keys order the pages; what is hidden says nothing about the user (fences, hashes). In the order of a reader.
  values ('profile', 'user_profiles', array['user_id'], '{}'::text[]),
         ('override', 'user_limit_overrides', array['user_id'], '{}'),
         ('sign_ins', 'user_sessions', array['created_at', 'id'], array['checked_at']),
         ('flows', 'flows', array['id'], '{}'),
         ('flow_versions', 'flow_versions', array['flow_id', 'version'], '{}'),
         ('schedules', 'flow_schedules', array['id'], '{}'),
         ('queue', 'flow_execution_queue', array['queued_at', 'id'],
          array['lease_token', 'previous_lease_token', 'lease_expires_at', 'processor_id']),
         ('executions', 'execution_logs', array['finished_at', 'execution_id', 'attempt'], array['lease_token', 'processor_id']),
         ('dead_letters', 'dead_letters', array['died_at', 'execution_id'], '{}'),
         ('acceptances', 'rate_limit_tracking', array['accepted_at', 'execution_id'], '{}'),
         ('errors', 'error_reports', array['last_seen_at', 'id'], '{}'),
         ('sessions', 'sessions', array['created_at', 'id'], '{}'),
         ('commands', 'command_history', array['recorded_at', 'session_id', 'ordinal'], '{}'),
         ('snapshots', 'context_snapshots', array['session_id', 'version'], '{}'),
         ('activity', 'user_activity_logs', array['occurred_at', 'id'],
          array['salt', 'content_hash', 'hash', 'chain_position', 'erased_at'])
$$;
comment on function private.export_datasets() is 'What belongs to a user: every public table with a user_id.';

create or replace function public.export_user_data(
  user_id uuid default null, dataset text default null, after jsonb default null, max integer default 500
)
returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_variable
declare
  v_user uuid := coalesce(user_id, auth.uid());
  v_set record;
  v_keys text;
  v_page jsonb;
  v_next jsonb;
begin
  if v_user is null then
    raise sqlstate 'PT400' using message = 'user_id must name whose data, as nobody is signed in';
  elsif v_user is distinct from auth.uid() then
    perform private.begin_admin_action('users.export', v_user, null);
  end if;
  if dataset is null then
    perform private.record_activity('user.exported', v_user, 'user', v_user::text, '{}');
    return jsonb_build_object(
      'user_id', v_user,
      'account', (select jsonb_build_object(
                           'email', a.email, 'phone', a.phone, 'user_metadata', a.raw_user_meta_data,
                           'created_at', a.created_at, 'last_sign_in_at', a.last_sign_in_at)
                    from auth.users a where a.id = v_user),
      'google', (select jsonb_build_object('status', t.status, 'scopes', t.scopes, 'connected_at', t.created_at)
                   from private.google_tokens t where t.user_id = v_user),
      'datasets', (select jsonb_agg(d.dataset) from private.export_datasets() d));
  end if;
  select * into v_set from private.export_datasets() d where d.dataset = export_user_data.dataset;
  if not found then
    raise sqlstate 'PT400' using message = format('dataset: there is none called %s', quote_literal(private.plain(dataset, 40))),
      hint = 'Without a dataset the answer lists them.';
  elsif max is null or max not between 1 and 1000 then
    raise sqlstate 'PT400' using message = format('max must be an integer from 1 to 1000, not %s', max);
  elsif after is not null and (jsonb_typeof(after) <> 'object' or not after ?& v_set.keys) then
    raise sqlstate 'PT400' using message = 'after must be the next of the page before, unchanged';
  end if;

  select string_agg(format('r.%I', k.key), ', ' order by k.n) into v_keys
    from unnest(v_set.keys) with ordinality k(key, n);
  begin
    execute format(
      'with page as materialized (
         select row_number() over (order by %2$s) as n, to_jsonb(r) as data
           from public.%1$I r
          where r.user_id = $1 and ($2 is null or (%2$s) > (select %3$s from jsonb_populate_record(null::public.%1$I, $2) a))
          order by %2$s limit $3)
       select coalesce(jsonb_agg(p.data - $4 order by p.n), ''[]''),
              case when count(*) = $3 then (array_agg(p.data order by p.n desc))[1] end
         from page p',
      v_set.relation, v_keys, replace(v_keys, 'r.', 'a.'))
      into v_page, v_next using v_user, after, max, v_set.hidden;
  exception
    when data_exception or invalid_text_representation then
      raise sqlstate 'PT400' using message = 'after must be the next of the page before, unchanged';
  end;
  if v_next is not null then
    select jsonb_object_agg(k.key, v_next -> k.key) into v_next from unnest(v_set.keys) k(key);
  end if;
  return jsonb_build_object('dataset', dataset, 'rows', v_page, 'next', v_next);
end
$$;
comment on function public.export_user_data(uuid, text, jsonb, integer) is
'Your data, page by page: without a dataset the account and the list of datasets, with one a page of rows and the next. Somebody else''s needs users.export.';

revoke execute on function private.export_datasets() from public;
revoke execute on function public.export_user_data(uuid, text, jsonb, integer)
from public, anon, authenticated, service_role;
grant execute on function public.export_user_data(uuid, text, jsonb, integer) to authenticated, service_role;
