-- Realtime's schema as migrations see it: messages in daily partitions under row security, and the functions that
-- put messages there. Delivery is local: a notification that the gateway listens to, where a hosted project reads the
-- write-ahead log.

create schema realtime;
grant usage on schema realtime to postgres with grant option;
grant usage on schema realtime to anon, authenticated, service_role, dashboard_user, supabase_realtime_admin;

create table realtime.messages (
    topic text not null,
    extension text not null,
    payload jsonb,
    event text,
    private boolean default false,
    updated_at timestamp not null default now(),
    inserted_at timestamp not null default now(),
    id uuid not null default gen_random_uuid(),
    binary_payload bytea,
    broadcasted_at timestamp,
    primary key (id, inserted_at)
) partition by range (inserted_at);
alter table realtime.messages enable row level security;
-- No message is ever refused for want of a partition.
create table realtime.messages_default partition of realtime.messages default;

-- The topic that the asking connection wants to join, set by Realtime while it checks the policies.
create function realtime.topic() returns text
language sql stable
return nullif(current_setting('realtime.topic', true), '');

-- Runs as the caller, and never fails the caller's transaction: an error becomes a warning.
create function realtime.send(payload jsonb, event text, topic text, private boolean default true) returns void
language plpgsql as $$
declare
    message_id uuid := gen_random_uuid();
begin
    begin
        perform set_config('realtime.topic', topic, true);
        insert into realtime.messages (id, payload, event, topic, private, extension)
        values (
            message_id,
            case when payload ? 'id' then payload else payload || jsonb_build_object('id', message_id) end,
            event, topic, private, 'broadcast'
        );
    exception when others then
        raise warning 'ErrorSendingBroadcastMessage: %', sqlerrm;
    end;
end
$$;

-- For row triggers: sends what changed in a row.
create function realtime.broadcast_changes(
    topic_name text, event_name text, operation text, table_name text, table_schema text,
    new record, old record, level text default 'ROW'
) returns void
language plpgsql as $$
begin
    if level = 'STATEMENT' then
        raise exception 'realtime.broadcast_changes was called from a statement trigger: it needs NEW and OLD, use for each row';
    end if;
    if operation not in ('INSERT', 'UPDATE', 'DELETE') then
        raise exception 'operation is %: only INSERT, UPDATE and DELETE can be broadcast', operation;
    end if;
    perform realtime.send(
        jsonb_build_object(
            'record', case when operation <> 'DELETE' then to_jsonb(new) end,
            'old_record', case when operation <> 'INSERT' then to_jsonb(old) end,
            'operation', operation, 'table', table_name, 'schema', table_schema
        ),
        event_name, topic_name
    );
end
$$;

alter table realtime.messages owner to supabase_realtime_admin;
alter table realtime.messages_default owner to supabase_realtime_admin;
alter function realtime.topic() owner to supabase_realtime_admin;
alter function realtime.send(jsonb, text, text, boolean) owner to supabase_realtime_admin;
alter function realtime.broadcast_changes(text, text, text, text, text, record, record, text)
owner to supabase_realtime_admin;
grant select, insert, update on realtime.messages to anon, authenticated, service_role;
grant all on realtime.messages to dashboard_user;

create publication supabase_realtime with (publish = 'insert, update, delete');
alter publication supabase_realtime owner to postgres;

-- ------------------------------------------------------------------------------------------ local only, not on hosted
create schema _realtime;
comment on schema _realtime is 'Local stack only: stands in for the Realtime server''s own work.';

-- One notification a statement: the messages themselves, or only their ids where they do not fit into the 8,000 bytes
-- of a notification. Very many ids are cut into several.
create function _realtime.notify_messages() returns trigger
language plpgsql set search_path = '' as $$
declare
    body text;
begin
    select jsonb_agg(jsonb_build_object(
        'id', id, 'topic', topic, 'event', event, 'payload', payload, 'private', private
    ))::text into body
    from inserted where extension = 'broadcast';
    if body is null then
        return null;
    end if;
    if octet_length(body) <= 7500 then
        perform pg_notify('realtime_messages', body);
    else
        perform pg_notify('realtime_messages', jsonb_build_object('ids', jsonb_agg(id))::text)
        from (
            select id, (row_number() over () - 1) / 150 as part from inserted where extension = 'broadcast'
        ) as numbered
        group by part;
    end if;
    return null;
end
$$;
create trigger local_delivery after insert on realtime.messages
referencing new table as inserted for each statement execute function _realtime.notify_messages();

-- Today's partition and the next three; what is older than three days goes. Run at every start of the stack.
create function _realtime.prepare_partitions() returns void
language plpgsql set search_path = '' as $$
declare
    today date := (now() at time zone 'UTC')::date;
    old_partition regclass;
begin
    -- A default partition with rows of a day refuses that day's partition; messages need not survive a restart.
    truncate realtime.messages_default;
    for day in 0..3 loop
        if to_regclass('realtime.messages_' || to_char(today + day, 'YYYY_MM_DD')) is null then
            execute format(
                'create table realtime.%I partition of realtime.messages for values from (%L) to (%L)',
                'messages_' || to_char(today + day, 'YYYY_MM_DD'), today + day, today + day + 1
            );
            execute format(
                'alter table realtime.%I owner to supabase_realtime_admin',
                'messages_' || to_char(today + day, 'YYYY_MM_DD')
            );
        end if;
    end loop;
    for old_partition in
        select inhrelid::regclass from pg_catalog.pg_inherits
        join pg_catalog.pg_class on pg_class.oid = inhrelid
        where inhparent = 'realtime.messages'::regclass
            and relname ~ '^messages_\d{4}_\d\d_\d\d$'
            and to_date(substr(relname, 10), 'YYYY_MM_DD') < today - 3
    loop
        execute format('drop table %s', old_partition);
    end loop;
end
$$;
select _realtime.prepare_partitions();
