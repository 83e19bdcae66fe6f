-- One row per object: kind, identity, definition with grants and comment. Lists are sorted, so
-- that granting the same again in another order is no difference.
with own_schema as (
    select n.oid, n.nspname, n.nspacl, n.nspowner
    from pg_catalog.pg_namespace as n
    where n.nspname !~ '^pg_'
        and n.nspname not in (
            'information_schema', 'auth', 'realtime', '_realtime', 'storage', 'extensions', 'vault',
            'graphql', 'graphql_public', 'net', 'cron', 'pgbouncer', 'pgsodium',
            'supabase_functions', 'supabase_migrations'
        )
        -- a schema that belongs to an extension is the extension's
        and not exists (
            select from pg_catalog.pg_depend as d
            where d.classid = 'pg_catalog.pg_namespace'::regclass
                and d.objid = n.oid
                and d.deptype = 'e'
        )
),

own_function as (
    select p.*, s.nspname
    from pg_catalog.pg_proc as p
    inner join own_schema as s on p.pronamespace = s.oid
    where p.prokind in ('f', 'p')
        and not exists (
            select from pg_catalog.pg_depend as d
            where d.classid = 'pg_catalog.pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e'
        )
),

own_relation as (
    select c.*, s.nspname, format('%I.%I', s.nspname, c.relname) as identity
    from pg_catalog.pg_class as c
    inner join own_schema as s on c.relnamespace = s.oid
    where c.relkind in ('r', 'p', 'v', 'm', 'S')
)

select
    'schema' as kind,
    format('%I', nspname) as identity,
    concat_ws(
        e'\n',
        'owner ' || nspowner::regrole,
        'grants ' || (
            select string_agg(
                format('%s:%s', a.grantee::regrole, a.privilege_type),
                ' ' order by a.grantee::regrole::text, a.privilege_type
            )
            from aclexplode(coalesce(nspacl, acldefault('n', nspowner))) as a
        ),
        'comment ' || obj_description(oid, 'pg_namespace')
    ) as definition
from own_schema
union all
select
    'function',
    format('%I.%I', p.nspname, p.proname)
    || substring(p.oid::regprocedure::text from '\(.*$'),
    concat_ws(
        e'\n',
        pg_get_functiondef(p.oid),
        'owner ' || p.proowner::regrole,
        'grants ' || (
            select string_agg(
                format('%s:%s', a.grantee::regrole, a.privilege_type),
                ' ' order by a.grantee::regrole::text, a.privilege_type
            )
            from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) as a
        ),
        'comment ' || obj_description(p.oid, 'pg_proc')
    )
from own_function as p
union all
select
    case c.relkind
        when 'v' then 'view'
        when 'm' then 'materialized view'
        when 'S' then 'sequence'
        else 'table'
    end,
    c.identity,
    concat_ws(
        e'\n',
        case when c.relkind in ('v', 'm') then pg_get_viewdef(c.oid) end,
        'options ' || array_to_string(c.reloptions, ' '),
        'owner ' || c.relowner::regrole,
        format('row level security %s, forced %s', c.relrowsecurity, c.relforcerowsecurity),
        'grants ' || (
            select string_agg(
                format('%s:%s', a.grantee::regrole, a.privilege_type),
                ' ' order by a.grantee::regrole::text, a.privilege_type
            )
            from aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) as a
        ),
        (
            select string_agg(
                concat_ws(
                    ' ',
                    'column',
                    a.attname,
                    format_type(a.atttypid, a.atttypmod),
                    a.attacl,
                    col_description(c.oid, a.attnum)
                ),
                e'\n' order by a.attnum
            )
            from pg_catalog.pg_attribute as a
            where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and c.relkind <> 'S'
        ),
        'comment ' || obj_description(c.oid, 'pg_class')
    )
from own_relation as c
union all
select
    'index',
    format('%I.%I', n.nspname, i.relname),
    concat_ws(
        e'\n',
        pg_get_indexdef(i.oid),
        format('valid %s', x.indisvalid),
        'comment ' || obj_description(i.oid, 'pg_class')
    )
from pg_catalog.pg_index as x
inner join pg_catalog.pg_class as i on x.indexrelid = i.oid
inner join own_schema as n on i.relnamespace = n.oid
union all
select
    'policy',
    format('%I on %I.%I', p.polname, n.nspname, c.relname),
    concat_ws(
        e'\n',
        format('for %s, permissive %s', p.polcmd, p.polpermissive),
        'to ' || (
            select string_agg(coalesce(r.rolname, 'public'), ', ' order by r.rolname)
            from unnest(p.polroles) as role (oid)
            left join pg_catalog.pg_roles as r on role.oid = r.oid
        ),
        'using ' || pg_get_expr(p.polqual, p.polrelid),
        'with check ' || pg_get_expr(p.polwithcheck, p.polrelid),
        'comment ' || obj_description(p.oid, 'pg_policy')
    )
from pg_catalog.pg_policy as p
inner join pg_catalog.pg_class as c on p.polrelid = c.oid
inner join pg_catalog.pg_namespace as n on c.relnamespace = n.oid
union all
select
    'trigger',
    format('%I on %I.%I', t.tgname, n.nspname, c.relname),
    concat_ws(
        e'\n',
        pg_get_triggerdef(t.oid),
        format('enabled %s', t.tgenabled),
        'comment ' || obj_description(t.oid, 'pg_trigger')
    )
from pg_catalog.pg_trigger as t
inner join pg_catalog.pg_class as c on t.tgrelid = c.oid
inner join pg_catalog.pg_namespace as n on c.relnamespace = n.oid
where not t.tgisinternal
