-- What the data API expects: it learns of changed tables and functions by itself, as on a hosted project.

-- The second schema that hosted projects expose. Empty here, but for the probe by which a stack sees that the API
-- serves what migrations just made.
create schema graphql_public;
grant usage on schema graphql_public to postgres, anon, authenticated, service_role;

create function extensions.pgrst_ddl_watch() returns event_trigger
language plpgsql set search_path = '' as $$
begin
    -- Temporary objects are nobody's API.
    if exists (
        select from pg_event_trigger_ddl_commands()
        where schema_name is distinct from 'pg_temp' and not in_extension
            and command_tag !~ '(INDEX|STATISTICS|EXTENSION)$'
    ) then
        perform pg_notify('pgrst', 'reload schema');
    end if;
end
$$;

create function extensions.pgrst_drop_watch() returns event_trigger
language plpgsql set search_path = '' as $$
begin
    if exists (
        select from pg_event_trigger_dropped_objects()
        where not is_temporary
            and object_type in ('schema', 'table', 'view', 'materialized view', 'foreign table', 'function', 'type')
    ) then
        perform pg_notify('pgrst', 'reload schema');
    end if;
end
$$;

create event trigger pgrst_ddl_watch on ddl_command_end execute function extensions.pgrst_ddl_watch();
create event trigger pgrst_drop_watch on sql_drop execute function extensions.pgrst_drop_watch();
