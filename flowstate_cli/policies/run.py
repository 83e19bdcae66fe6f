"""The whole matrix on a database by its address, in one transaction that is rolled back."""

from __future__ import annotations

import psycopg

from flowstate_cli.database import open_database
from flowstate_cli.errors import NotReachableError, RefusedError
from flowstate_cli.policies.callers import API_ROLES
from flowstate_cli.policies.matrix import examine
from flowstate_cli.policies.report import Matrix
from flowstate_cli.policies.rules import Rules

_NEEDED = ("auth.users", "realtime.messages", "public.user_profiles")


def check_database(url: str, rules: Rules) -> Matrix:
    """Raises NotReachableError where FlowState is not installed, RefusedError for another role
    than the schema's owner.
    """
    with open_database(url) as connection:
        connection.prepare_threshold = None  # a transaction pooler may stand between
        try:
            _be_able(connection)
            return examine(connection, rules)
        finally:
            connection.rollback()


def _be_able(connection: psycopg.Connection) -> None:
    for role in API_ROLES:
        try:
            with connection.transaction(force_rollback=True):
                connection.execute("select set_config('role', %s, true)", (role,))
        except psycopg.Error as error:
            raise RefusedError(
                f"This connection cannot act as {role}, so it could not try what {role} may do.",
                hint="Connect as the role postgres.",
                code=error.sqlstate or "",
            ) from error
    for name in _NEEDED:
        found = connection.execute("select to_regclass(%s) is not null", (name,)).fetchone()
        if found is None or not found[0]:
            raise NotReachableError(
                f"The database has no {name}.",
                field="FLOWSTATE_DATABASE_URL",
                hint="Is it a Supabase database with the migrations applied (flowstate db push)?",
            )
