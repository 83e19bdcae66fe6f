-- What the API roles may do with the schemas themselves.
select
    n.nspname as schema,
    role,
    privilege
from pg_namespace as n
cross join unnest(array['anon', 'authenticated', 'service_role']) as role
cross join unnest(array['usage', 'create']) as privilege
where n.nspname = any(%(schemas)s) and has_schema_privilege(role, n.oid, privilege)
order by n.nspname, role, privilege
