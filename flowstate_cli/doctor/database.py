"""The database: migrations, roles and grants, row security, partitions, clock, PostgREST's view."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import psycopg

from flowstate_cli.api import Api
from flowstate_cli.database import connect, migration_history
from flowstate_cli.doctor.clocks import clock_finding
from flowstate_cli.doctor.finding import Finding, fail, ok, warn
from flowstate_cli.doctor.schema_cache import examine_schema_cache
from flowstate_cli.errors import CliError

_LONG_TRANSACTION_SECONDS = 3600
_ROLES = ("anon", "authenticated", "service_role", "authenticator")
_PUSH = "Run: flowstate db push"

_UNPROTECTED = """
select format('%I.%I', n.nspname, c.relname)
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = 'public' and c.relkind in ('r', 'p') and not c.relrowsecurity
order by 1
"""
_OPEN_TO_ANON = """
select format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid))
from pg_proc p join pg_namespace n on n.oid = p.pronamespace
where n.nspname in ('public', 'private') and has_function_privilege('anon', p.oid, 'execute')
    and p.prosecdef
order by 1
"""
_CLOSED_TO_SERVICE = """
select format('%I.%I', n.nspname, p.proname)
from pg_proc p join pg_namespace n on n.oid = p.pronamespace
where n.nspname = 'public' and p.prorettype <> 'trigger'::regtype
    and not has_function_privilege('service_role', p.oid, 'execute')
order by 1
"""
_WITHOUT_TOMORROW = """
select c.relname
from pg_partitioned_table t join pg_class c on c.oid = t.partrelid
join pg_namespace n on n.oid = c.relnamespace
where n.nspname = 'public' and t.partstrat = 'r' and not exists (
    select from pg_inherits i join pg_class p on p.oid = i.inhrelid
    cross join lateral regexp_match(
        pg_get_expr(p.relpartbound, p.oid), $$FROM \\('([^']+)'\\) TO \\('([^']+)'\\)$$) as bounds
    where i.inhparent = c.oid and bounds is not null
        and now() + interval '1 day' >= bounds[1]::timestamptz
        and now() + interval '1 day' < bounds[2]::timestamptz)
order by 1
"""
_LONGEST = """
select coalesce(extract(epoch from max(clock_timestamp() - xact_start)), 0)::integer
from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()
"""


def examine_database(url: str, project: Path | None, api: Api | None) -> list[Finding]:
    """Everything that needs a direct connection. `api` where it can be used."""
    try:
        connection = connect(url)
    except CliError as error:
        return [fail("database", error.message, error.hint)]
    with connection:
        connection.autocommit = True
        found = [_version(connection), _clock(connection)]
        if project is not None:
            found.append(_migrations(connection, project))
        checks = (_roles, _grants, _row_security, _partitions, _transactions)
        try:
            found.extend(check(connection) for check in checks)
            if api is not None:
                found.append(examine_schema_cache(connection, api))
        except psycopg.Error as error:
            message = error.diag.message_primary or type(error).__name__
            found.append(fail("catalogs", f"{message}.", f"{_PUSH}; connect as postgres."))
    return found


def _version(connection: psycopg.Connection) -> Finding:
    info = connection.info
    version = info.server_version // 10000
    if version < 15:
        return fail("database", f"Postgres {version}", "Use Postgres 15 or newer.")
    return ok("database", f"Postgres {version} at {info.host}:{info.port}")


def _clock(connection: psycopg.Connection) -> Finding:
    before = time.time()
    theirs = float(_one(connection, "select extract(epoch from clock_timestamp())"))
    middle = (before + time.time()) / 2
    return clock_finding(
        "clock of the database", theirs - middle, "Synchronise this machine's clock (NTP)."
    )


def _migrations(connection: psycopg.Connection, project: Path) -> Finding:
    history = migration_history(connection, project)
    if history.pending:
        found = f"{len(history.pending)} not applied, the first is {history.pending[0]}"
        return fail("migrations", found, _PUSH)
    if history.foreign:
        found = f"{history.foreign[-1]} is applied, and this project has no file for it"
        return warn("migrations", found, "Update this checkout: the database is newer.")
    return ok("migrations", "all of this project's are applied")


def _roles(connection: psycopg.Connection) -> Finding:
    known = _all(connection, "select rolname from pg_roles")
    missing = [role for role in _ROLES if role not in known]
    if missing:
        advice = "This is not a Supabase database: use one, or `flowstate up` for a local one."
        return fail("roles", f"missing: {', '.join(missing)}", advice)
    return ok("roles", ", ".join(_ROLES))


def _grants(connection: psycopg.Connection) -> Finding:
    open_ones = _all(connection, _OPEN_TO_ANON)
    if open_ones:
        found = f"anybody may call {open_ones[0]}" + _more(open_ones)
        return fail("grants", found, "Revoke execute in sql/ and compile, or push what is missing.")
    closed = _all(connection, _CLOSED_TO_SERVICE)
    if closed:
        found = f"service_role may not call {closed[0]}" + _more(closed)
        return warn("grants", found, "If that is not meant: grant execute in sql/, and compile.")
    return ok("grants", "functions with raised rights are closed to anon, open to service_role")


def _row_security(connection: psycopg.Connection) -> Finding:
    tables = _all(connection, _UNPROTECTED)
    if tables:
        advice = "alter table … enable row level security, and policies under sql/policies/."
        return fail("row security", f"off for {tables[0]}" + _more(tables), advice)
    return ok("row security", "on for every table in public")


def _partitions(connection: psycopg.Connection) -> Finding:
    missing = _all(connection, _WITHOUT_TOMORROW)
    if missing:
        found = f"{missing[0]} has none for tomorrow" + _more(missing)
        advice = "Run a worker, which makes them, or once: select public.maintain_queue()"
        return warn("partitions", found, advice)
    return ok("partitions", "made ahead for tomorrow")


def _transactions(connection: psycopg.Connection) -> Finding:
    seconds = int(_one(connection, _LONGEST))
    if seconds > _LONG_TRANSACTION_SECONDS:
        advice = "End it: while it is open, no ended execution's row can be cleaned away."
        return warn("transactions", f"the oldest is open for {seconds} s", advice)
    return ok("transactions", "none is open for long")


def _all(connection: psycopg.Connection, query: str) -> list[str]:
    return [str(value) for (value,) in connection.execute(query.encode())]


def _one(connection: psycopg.Connection, query: str) -> Any:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def _more(names: list[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""
