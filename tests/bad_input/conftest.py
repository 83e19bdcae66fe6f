"""People with clients of their own, and a look at all that the database holds."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import psycopg
import pytest
from psycopg import sql
from supabase import Client, ClientOptions, create_client

from flowstate_local import LocalStack

FLOW = {"steps": [{"name": "rows", "type": "transform", "args": {"template": "{{input.who}}"}}]}

Contents = Callable[[], dict[str, tuple[int, str]]]


@dataclass(frozen=True)
class Person:
    """Somebody who has signed up, with a client that acts for them and a flow of their own."""

    client: Client
    id: str
    flow_id: str


@pytest.fixture
def clients(stack: LocalStack) -> Iterator[Callable[[str], Client]]:
    """Makes Supabase clients for a key."""
    with ExitStack() as cleanup:

        def make(key: str) -> Client:
            http = cleanup.enter_context(httpx.Client(timeout=30))
            options = ClientOptions(
                auto_refresh_token=False, persist_session=False, httpx_client=http
            )
            return create_client(stack.info.api_url, key, options)

        yield make


@pytest.fixture
def service(clients: Callable[[str], Client], stack: LocalStack) -> Client:
    return clients(stack.info.secret_key)


@pytest.fixture
def nobody(clients: Callable[[str], Client], stack: LocalStack) -> Client:
    """A client of an app that nobody has signed in to."""
    return clients(stack.info.publishable_key)


@pytest.fixture
def sign_up(clients: Callable[[str], Client], stack: LocalStack) -> Callable[[], Person]:
    def make() -> Person:
        client = clients(stack.info.publishable_key)
        credentials = {
            "email": f"{secrets.token_hex(6)}@example.com",
            "password": secrets.token_hex(12),
        }
        answer = client.auth.sign_up(credentials)  # type: ignore[arg-type]
        assert answer.user is not None
        row: Any = {"user_id": answer.user.id, "name": "mine", "definition": FLOW}
        [flow] = client.table("flows").insert(row).execute().data
        assert isinstance(flow, dict)
        return Person(client, answer.user.id, str(flow["id"]))

    return make


@pytest.fixture
def person(sign_up: Callable[[], Person]) -> Person:
    return sign_up()


@pytest.fixture
def stranger(sign_up: Callable[[], Person]) -> Person:
    return sign_up()


@pytest.fixture
def contents(database: psycopg.Connection) -> Contents:
    """Reads, for each table of ours, how many rows it has and a digest of them."""
    tables = database.execute(
        "select n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        " where n.nspname in ('public', 'private') and c.relkind in ('r', 'p')"
    ).fetchall()

    def read() -> dict[str, tuple[int, str]]:
        found = {}
        for schema, table in tables:
            row = database.execute(
                sql.SQL(
                    "select count(*), coalesce(md5(string_agg(t::text, ',' order by t::text)), '')"
                    " from {} t"
                ).format(sql.Identifier(schema, table))
            ).fetchone()
            assert row
            found[f"{schema}.{table}"] = (row[0], row[1])
        return found

    return read


@pytest.fixture
def make_owner(service: Client) -> Callable[[], str]:
    """Adds a Google account to the pool."""

    def make() -> str:
        owner = f"{secrets.token_hex(4)}@example.com"
        service.table("apps_script_owners").insert({"owner": owner}).execute()
        return owner

    return make
