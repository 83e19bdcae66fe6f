"""The two gates of `flowstate db check`."""

from __future__ import annotations

from pathlib import Path

from flowstate_cli.database import open_database
from flowstate_cli.errors import NotReachableError
from flowstate_cli.sql.catalog import Difference, differences
from flowstate_cli.sql.compile import stale
from flowstate_cli.sql.ledger import read_migrations, recorded_state
from flowstate_cli.sql.sources import read_sources


def stale_sources(project: Path) -> dict[str, str]:
    """Gate 1: path to problem for every source that the migrations do not hold as it is."""
    return stale(read_sources(project), recorded_state(read_migrations(project)))


def catalog_differences(project: Path, database_url: str | None) -> list[Difference]:
    """Gate 2, in the database at `database_url`, or in a fresh one built from the migrations.

    Raises NotReachableError where there is neither.
    """
    sources = read_sources(project)
    if database_url is not None:
        with open_database(database_url) as connection:
            return differences(connection, sources)
    try:
        from flowstate_local import LocalStack
    except ImportError as error:
        raise NotReachableError(
            "There is no database to compare: the local stack, which would make one, is not "
            "installed.",
            hint="Install it with pip install 'flowstate[local]', or name a database with "
            "--database-url, or compare hashes only with --offline.",
        ) from error
    with LocalStack.throw_away(components=("postgres",)) as stack:
        stack.push_migrations()
        with open_database(stack.info.db_url) as connection:
            return differences(connection, sources)
