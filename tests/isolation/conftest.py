"""A database to break, undone after each test, and what the matrix then says of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest

from flowstate_cli.policies.matrix import examine
from flowstate_cli.policies.report import Matrix
from flowstate_cli.policies.rules import Rules, load_rules

Differences = Callable[..., list[str]]
"""`differences("flows")`: what the matrix says about these objects; about all without a name."""


@pytest.fixture(scope="session")
def rules() -> Rules:
    return load_rules()


@pytest.fixture
def broken(database_url: str) -> Iterator[psycopg.Connection]:
    """A connection as the owner of the schema. Nothing that a test does there stays."""
    with psycopg.connect(database_url) as connection:
        yield connection
        connection.rollback()


@pytest.fixture
def differences(broken: psycopg.Connection, rules: Rules) -> Differences:
    def look(*names: str) -> list[str]:
        return matrix_of(broken, rules, *names).lines()

    return look


def matrix_of(connection: psycopg.Connection, rules: Rules, *names: str) -> Matrix:
    return examine(connection, rules, names)
