-- Every table, partition, view, materialized view, foreign table and sequence, with what each API role may do by its
-- grants. What belongs to an extension is the extension's.
select
    n.nspname as schema,
    c.relname as name,
    c.relkind::text as kind,
    case when c.relispartition then (
        select p.relname from pg_inherits as i inner join pg_class as p on i.inhparent = p.oid where i.inhrelid = c.oid
    ) end as parent,
    c.relrowsecurity as row_security,
    c.reloptions && array['security_invoker=true', 'security_invoker=on', 'security_invoker=1'] as invoker,
    c.relowner::regrole::text as owner,
    shape.columns,
    shape.writable,
    shape.required,
    array(
        select a.attname::text
        from pg_index as x
        inner join pg_attribute as a on c.oid = a.attrelid and a.attnum = any(x.indkey)
        where x.indrelid = c.oid and x.indisprimary
        order by a.attnum
    ) as key,
    (
        select jsonb_object_agg(role, case
            when c.relkind = 'S' then jsonb_build_object(
                's', has_sequence_privilege(role, c.oid, 'select'),
                'u', has_sequence_privilege(role, c.oid, 'usage, update')
            )
            else jsonb_build_object(
                's', array(
                    select x from unnest(shape.columns) as x where has_column_privilege(role, c.oid, x, 'select')
                ),
                'i', array(
                    select x from unnest(shape.columns) as x where has_column_privilege(role, c.oid, x, 'insert')
                ),
                'u', array(
                    select x from unnest(shape.columns) as x where has_column_privilege(role, c.oid, x, 'update')
                ),
                'd', has_table_privilege(role, c.oid, 'delete'),
                'further', array(
                    select x from unnest(array['truncate', 'references', 'trigger']) as x
                    where has_table_privilege(role, c.oid, x)
                        or (x = 'references' and has_any_column_privilege(role, c.oid, x))
                )
            )
        end)
        from unnest(array['anon', 'authenticated', 'service_role']) as role
    ) as grants,
    array(
        select distinct coalesce(nullif(a.grantee, 0)::regrole::text, 'public') || ' ' || lower(a.privilege_type)
        from (
            select r.* from aclexplode(c.relacl) as r
            union all
            select r.* from pg_attribute as t cross join lateral aclexplode(t.attacl) as r where t.attrelid = c.oid
        ) as a
        where a.grantee <> all(array[c.relowner, 'anon'::regrole, 'authenticated'::regrole, 'service_role'::regrole])
        order by 1
    ) as granted_to_others
from pg_class as c
inner join pg_namespace as n on c.relnamespace = n.oid
cross join lateral (
    select
        array_agg(a.attname::text order by a.attnum) as columns,
        array_agg(a.attname::text order by a.attnum)
        filter (where a.attgenerated = '' and a.attidentity <> 'a') as writable,
        array_agg(a.attname::text order by a.attnum)
        filter (where a.attnotnull and not a.atthasdef and a.attidentity = '') as required
    from pg_attribute as a
    where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
) as shape
where n.nspname = any(%(schemas)s) and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') and not exists (
    select from pg_depend as d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e'
)
order by n.nspname <> 'public', n.nspname, c.relname
