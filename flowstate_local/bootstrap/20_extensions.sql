-- Extensions live in their own schema. Those that hosted projects start with are made where the server has them;
-- migrations may require none of them.

create schema extensions;
grant usage on schema extensions to postgres, anon, authenticated, service_role, dashboard_user;
grant create on schema extensions to postgres, dashboard_user;

do $$
declare
    extension name;
begin
    for extension in
        select name from pg_available_extensions
        where name in ('uuid-ossp', 'pgcrypto', 'pg_stat_statements')
    loop
        execute format('create extension if not exists %I with schema extensions', extension);
    end loop;
end
$$;
