"""The stack that tests share, and helpers that keep them apart.

- `database`, `database_url`: a migrated database of this session, as the role `postgres`.
- `supabase_database`: the same with the superuser's address and PostgREST's.
- `stack`: the whole local stack around that database; only tests that ask for it start it.
- `make_user`: makes users, each with a profile; `clean_database`: nothing of earlier tests is left.

FLOWSTATE_TEST_STACK=containers runs database and PostgREST in Docker instead (see stacks.py).
"""

from __future__ import annotations

import signal
import uuid
from collections.abc import Callable, Iterator

import psycopg
import pytest

from flowstate_local import LocalStack
from tests.stacks import Database, open_database

MakeUser = Callable[..., uuid.UUID]

# A shell that starts the tests in the background has SIGINT ignored, and every process they start
# would inherit that: tests that interrupt a program would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def supabase_database() -> Iterator[Database]:
    """Database and PostgREST with all migrations, for the whole session."""
    with open_database() as database:
        yield database


@pytest.fixture(scope="session")
def stack(supabase_database: Database) -> LocalStack:
    """Every component of the local stack, for the whole session.

    A test that stops or kills a component starts it again (`stack.start()`).
    """
    if supabase_database.stack is None:
        pytest.skip("needs the embedded stack, and FLOWSTATE_TEST_STACK names another")
    whole = LocalStack.create(supabase_database.stack.directory, durable=False)
    whole.start()
    return whole


@pytest.fixture(scope="session")
def database_url(supabase_database: Database) -> str:
    """As `postgres`, who is no superuser."""
    return supabase_database.url


@pytest.fixture
def database(database_url: str) -> Iterator[psycopg.Connection]:
    """A connection as `postgres`, each statement its own transaction."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def make_user(database: psycopg.Connection) -> MakeUser:
    """`make_user(tier="pro")` adds a user to auth.users and returns the id."""

    def make(*, tier: str = "free") -> uuid.UUID:
        user_id = uuid.uuid4()
        database.execute(
            "insert into auth.users (id, aud, role, email, created_at, updated_at)"
            " values (%s, 'authenticated', 'authenticated', %s, now(), now())",
            (user_id, f"{user_id}@example.com"),
        )
        database.execute(
            "update public.user_profiles set tier = %s where user_id = %s", (tier, user_id)
        )
        return user_id

    return make


_KEPT_TABLES = ("subscription_tiers", "role_permissions", "partition_policies")
_ONE_ROW_TABLES = (
    "public.load_balancer_config",
    "private.queue_state",
    "private.wake_ups",
    "private.activity_chain",
)


@pytest.fixture
def clean_database(database: psycopg.Connection) -> psycopg.Connection:
    """The database without users, flows, executions, instances and messages; settings as new."""
    found = database.execute(
        "select string_agg(oid::regclass::text, ', ') from pg_class"
        " where relnamespace in ('public'::regnamespace, 'private'::regnamespace)"
        " and relkind in ('r', 'p') and not relispartition and relname <> all (%s)",
        (list(_KEPT_TABLES),),
    ).fetchone()
    assert found
    with database.transaction():
        database.execute(f"truncate {found[0]}, auth.users, realtime.messages cascade".encode())
        for table in _ONE_ROW_TABLES:
            database.execute(f"insert into {table} default values".encode())
    return database
