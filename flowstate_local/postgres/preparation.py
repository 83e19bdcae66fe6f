"""Makes of a plain cluster what migrations expect of a Supabase project."""

from __future__ import annotations

from importlib import resources

import psycopg
from psycopg import sql

from flowstate_local.keys import Keys


def bootstrap_scripts() -> list[tuple[str, str]]:
    """(name, text) of the scripts in `bootstrap/`, in their order.

    They run once, as the superuser `supabase_admin`, on any Postgres 15 or newer.
    """
    folder = resources.files("flowstate_local") / "bootstrap"
    scripts = [each for each in folder.iterdir() if each.name.endswith(".sql")]
    return [(each.name, each.read_text()) for each in sorted(scripts, key=lambda each: each.name)]


def bootstrap(connection: psycopg.Connection, keys: Keys) -> None:
    """Make the roles, schemas and functions of a hosted project, all or nothing."""
    with connection.transaction():
        for _, text in bootstrap_scripts():
            connection.execute(text.encode())
        logins = {
            "postgres": keys.postgres_password,
            "authenticator": keys.authenticator_password,
            "supabase_auth_admin": keys.auth_admin_password,
        }
        for role, password in logins.items():
            connection.execute(
                sql.SQL("alter role {} password {}").format(
                    sql.Identifier(role), sql.Literal(password)
                )
            )


def is_bootstrapped(connection: psycopg.Connection) -> bool:
    """Whether `bootstrap` has been done here."""
    row = connection.execute("select to_regrole('authenticator') is not null").fetchone()
    return bool(row and row[0])


def prepare_start(connection: psycopg.Connection) -> None:
    """What a hosted project does by schedule: partitions of realtime.messages."""
    connection.execute("select _realtime.prepare_partitions()")
