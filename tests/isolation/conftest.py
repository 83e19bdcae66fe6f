"""A database to break, undone after each test, and what the matrix then says of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest

from flowstate_cli.policies.matrix import examine
from flowstate_cli.policies.report import Matrix
from flowstate_cli.policies.rules import Rules, load_rules
from flowstate_cli.policies.samples import personal
from flowstate_local import LocalStack

from .attackers import CANARY, Person, World

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


# ---------------------------------------------------------- attacks, on a stack of their own


@pytest.fixture(scope="session")
def stack() -> Iterator[LocalStack]:
    """What attacks leave behind is nobody else's."""
    with LocalStack.throw_away(components=("postgres", "postgrest", "gateway")) as started:
        started.push_migrations()
        yield started


@pytest.fixture(scope="session")
def world(stack: LocalStack, rules: Rules) -> Iterator[World]:
    with psycopg.connect(stack.info.db_url, autocommit=True) as connection:
        found = World(stack.info, connection, rules)
        yield found
        found.http.close()


@pytest.fixture
def attacker(world: World) -> Person:
    return world.person()


@pytest.fixture(scope="session")
def victim(world: World) -> Person:
    """With a row in every table that holds rows of users, and CANARY in some."""
    person = world.person("pro", canary=CANARY)
    samples = world.samples(person.id)
    for name, rule in world.rules.tables.items():
        relation = samples.inventory.relation(name)
        if rule.sample and relation is not None and personal(world.rules, rule.sample):
            samples.row(name)
    return person
