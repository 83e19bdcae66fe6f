"""The direct connection to Postgres, which only `flowstate db …`, `policies` and `doctor` open."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from flowstate_cli.errors import BadInputError, NotReachableError, RefusedError
from flowstate_cli.sql.ledger import read_migrations

_CONNECT_TIMEOUT_SECONDS = 10


def connect(url: str) -> psycopg.Connection:
    """A connection. Raises BadInputError for a malformed address, NotReachableError without one.

    Errors name host and port and never the password.
    """
    try:
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        raise BadInputError(
            "The database address is not a Postgres URL.",
            field="FLOWSTATE_DATABASE_URL",
            hint="It looks like postgresql://postgres:<password>@<host>:5432/postgres; characters "
            "such as @ or / in the password must be percent-encoded.",
        ) from error
    place = f"{parts.get('host', 'localhost')}:{parts.get('port', 5432)}"
    try:
        return psycopg.connect(
            url, connect_timeout=_CONNECT_TIMEOUT_SECONDS, application_name="flowstate"
        )
    except psycopg.OperationalError as error:
        reason = str(error).strip().splitlines()[-1]
        if "authentication failed" in reason or "no password supplied" in reason:
            raise NotReachableError(
                f"Postgres at {place} refused the password of {parts.get('user', 'the user')}.",
                field="FLOWSTATE_DATABASE_URL",
                hint="Set the password of the database itself, not an API key.",
            ) from error
        raise NotReachableError(
            f"Postgres at {place} is not reachable: {reason.rpartition(': ')[2] or reason}.",
            field="FLOWSTATE_DATABASE_URL",
            hint="Is the stack up (`flowstate up`), or is the host right and open to this machine?",
        ) from error


@contextmanager
def open_database(url: str) -> Iterator[psycopg.Connection]:
    """A connection for a block. What the database refuses in it is raised as RefusedError."""
    with connect(url) as connection:
        try:
            yield connection
        except psycopg.Error as error:
            raise RefusedError(
                f"The database refused: {error.diag.message_primary or type(error).__name__}.",
                hint=error.diag.message_hint or "Is this the role postgres?",
                code=error.sqlstate or "",
            ) from error


@dataclass(frozen=True)
class History:
    """`pending`: file names that are not applied, oldest first. `foreign`: applied versions that
    this project has no file for.
    """

    pending: list[str]
    foreign: list[str]


def migration_history(connection: psycopg.Connection, project: Path) -> History:
    """Compares what the database records as applied with `supabase/migrations`."""
    row = connection.execute(
        "select to_regclass('supabase_migrations.schema_migrations') is not null"
    ).fetchone()
    applied: set[str] = set()
    if row is not None and row[0]:
        rows = connection.execute("select version from supabase_migrations.schema_migrations")
        applied = {str(version) for (version,) in rows}
    files = read_migrations(project)
    return History(
        pending=[file.path.name for file in files if file.version not in applied],
        foreign=sorted(applied - {file.version for file in files}),
    )
