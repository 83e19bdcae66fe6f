-- What the API roles may do with the schemas themselves, and whether they may make temporary objects.
select
    n.nspname as schema,
    role,
    privilege
from pg_namespace as n
cross join unnest(array['anon', 'authenticated', 'service_role']) as role
cross join unnest(array['usage', 'create']) as privilege
where n.nspname = any(%(schemas)s) and has_schema_privilege(role, n.oid, privilege)
union all
select
    'database',
    role,
    privilege
from unnest(array['anon', 'authenticated', 'service_role']) as role
cross join unnest(array['temporary', 'create']) as privilege
where has_database_privilege(role, current_database(), privilege)
order by 1, 2, 3
