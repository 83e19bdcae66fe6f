"""What a database's catalogs say, and whether applying `sql/` again changes any of it.

This is the second gate of `flowstate db check`: a migration edited by hand, or an object that no
source creates, leaves the hashes in order but not the catalogs.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

import psycopg

from flowstate_cli.errors import RefusedError
from flowstate_cli.sql.sources import Source

_QUERIES = Path(__file__).with_name("catalog.sql").read_text(encoding="utf-8")
_NEEDLESS_QUOTES = re.compile(r'"([a-z_][a-z0-9_$]*)"')

Snapshot = dict[tuple[str, str], str]


@dataclass(frozen=True)
class Difference:
    """One object whose catalog entry is not what the sources say."""

    kind: str
    identity: str
    problem: str
    detail: str = ""


def differences(connection: psycopg.Connection, sources: list[Source]) -> list[Difference]:
    """Applies the sources in a transaction, compares the catalogs, and rolls back.

    Function bodies are checked while they are applied, unlike in a migration: all that they
    mention has to exist. Raises RefusedError naming the source that the database refuses.
    """
    try:
        before = snapshot(connection)
        for source in sources:
            _apply(connection, source)
        after = snapshot(connection)
        undeclared = _undeclared(connection, sources, after)
    finally:
        connection.rollback()
    return [*_compare(before, after), *undeclared]


def snapshot(connection: psycopg.Connection) -> Snapshot:
    """Definition, grants and comment of every object in the project's own schemas, and of every
    policy and trigger in any.
    """
    rows = connection.execute(_QUERIES).fetchall()
    return {(kind, identity): definition for kind, identity, definition in rows}


def _apply(connection: psycopg.Connection, source: Source) -> None:
    try:
        connection.execute(source.text.encode())
    except psycopg.Error as error:
        raise RefusedError(
            f"{source.path} cannot be applied to this database: {error.diag.message_primary}.",
            hint=error.diag.message_hint or "Push the migrations first: flowstate db push",
            code=error.sqlstate or "",
        ) from error


def _compare(before: Snapshot, after: Snapshot) -> list[Difference]:
    found: list[Difference] = []
    for key in sorted({*before, *after}):
        if key not in before:
            found.append(Difference(*key, "is in sql/, but the migrations do not create it"))
        elif key not in after:
            found.append(Difference(*key, "is in the migrations, but applying sql/ drops it"))
        elif before[key] != after[key]:
            lines = difflib.unified_diff(
                before[key].splitlines(), after[key].splitlines(), "migrations", "sql/", lineterm=""
            )
            found.append(Difference(*key, "differs", "\n".join(lines)))
    return found


def _undeclared(
    connection: psycopg.Connection, sources: list[Source], after: Snapshot
) -> list[Difference]:
    """Functions, views and policies of the project's schemas which no source creates."""
    declared = {
        (item.kind, _catalog_identity(connection, item.kind, item.identity))
        for source in sources
        for item in source.objects
    }
    return [
        Difference(kind, identity, "exists, but no file under sql/ creates it")
        for kind, identity in sorted(after)
        if kind in {"function", "view", "policy"}
        and (kind, _unquoted(identity)) not in declared
        and not _is_platforms(kind, identity)
    ]


def _catalog_identity(connection: psycopg.Connection, kind: str, identity: str) -> str:
    """The identity as the catalogs spell it: types may be written in more than one way."""
    if kind == "function":
        row = connection.execute(
            "select p.oid::regprocedure::text, n.nspname, p.proname from pg_proc p "
            "join pg_namespace n on n.oid = p.pronamespace where p.oid = to_regprocedure(%s)",
            (identity,),
        ).fetchone()
        if row is not None:
            arguments = row[0][row[0].index("(") :]
            identity = f"{row[1]}.{row[2]}{arguments}"
    return _unquoted(identity)


def _is_platforms(kind: str, identity: str) -> bool:
    """Policies in Supabase's own schemas may be Supabase's."""
    table_schema = _unquoted(identity).rpartition(" on ")[2].partition(".")[0]
    return kind == "policy" and table_schema in {"auth", "realtime", "storage", "cron"}


def _unquoted(identity: str) -> str:
    return _NEEDLESS_QUOTES.sub(r"\1", identity)
