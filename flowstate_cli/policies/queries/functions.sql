-- Every function and procedure, with who may execute it. What belongs to an extension is the extension's.
select
    n.nspname as schema,
    p.proname as name,
    pg_get_function_identity_arguments(p.oid) as arguments,
    coalesce(p.proargnames[1:p.pronargs], '{}') as argument_names,
    array(
        select format_type(t.type, null) from unnest(p.proargtypes) with ordinality as t (type, n) order by t.n
    ) as argument_types,
    p.prorettype = 'void'::regtype as returns_nothing,
    coalesce('search_path=""' = any(p.proconfig), false) as pinned,
    array(
        select role from unnest(array['anon', 'authenticated', 'service_role']) as role
        where has_function_privilege(role, p.oid, 'execute')
    ) as granted_to,
    array(
        select coalesce(nullif(a.grantee, 0)::regrole::text, 'public')
        from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) as a
        where a.grantee <> all(array[p.proowner, 'anon'::regrole, 'authenticated'::regrole, 'service_role'::regrole])
        order by 1
    ) as granted_to_others
from pg_proc as p
inner join pg_namespace as n on p.pronamespace = n.oid
where n.nspname = any(%(schemas)s) and not exists (
    select from pg_depend as d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e'
)
order by n.nspname <> 'public', n.nspname, p.proname, arguments
