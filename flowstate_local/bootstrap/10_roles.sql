-- The roles of a hosted project, with their settings. Run once by the superuser on a new cluster, so that
-- migrations run unchanged. Logins get their passwords from the caller, never from a file.

create role anon nologin noinherit;
create role authenticated nologin noinherit;
create role service_role nologin noinherit bypassrls;
create role authenticator login noinherit;
create role dashboard_user nologin createdb createrole replication;
create role supabase_auth_admin login noinherit;
create role supabase_realtime_admin nologin noinherit;

-- Migrations run as this one. Not a superuser: what hosted projects refuse must be refused here too.
create role postgres login nosuperuser createdb createrole replication bypassrls;

grant anon, authenticated, service_role to authenticator;
grant anon, authenticated, service_role to postgres with admin option;
-- Owner of realtime.messages: being a member lets migrations write policies on that table.
grant supabase_realtime_admin to postgres;
grant pg_monitor, pg_read_all_data, pg_signal_backend to postgres;

alter role anon set statement_timeout = '3s';
alter role authenticated set statement_timeout = '8s';
alter role authenticator set statement_timeout = '8s';
alter role authenticator set lock_timeout = '8s';
alter role postgres set search_path = "$user", public, extensions;
alter role supabase_admin set search_path = "$user", public, auth, extensions;
alter role supabase_auth_admin set search_path = auth;
alter role supabase_realtime_admin set search_path = public, extensions, realtime;

do $$
begin
    execute format('alter database %I owner to postgres', current_database());
    execute format('alter database %I set timezone = %L', current_database(), 'UTC');
end
$$;

grant usage on schema public to anon, authenticated, service_role;

-- Since 30 October 2026 new tables in public are not granted to the API roles. What the change left behind are
-- the privileges that the API has no verb for; they stand here so that a missing revoke shows.
alter default privileges for role postgres in schema public
grant truncate, references, trigger on tables to anon, authenticated, service_role;
