"""A durable stack for all fault tests, and a world of its own for each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from flowstate_local import LocalStack
from tests.faults.proxy import Proxy
from tests.faults.world import World, fresh_world

_COMPONENTS = ("postgres", "postgrest", "simulator", "gateway")


@pytest.fixture(scope="session")
def durable_stack() -> Iterator[LocalStack]:
    """With fsync on, unlike other tests' stacks: here Postgres is killed."""
    with LocalStack.throw_away(components=_COMPONENTS, durable=True) as stack:
        stack.push_migrations()
        with psycopg.connect(stack.info.db_url, autocommit=True) as connection:
            connection.execute(
                "update public.subscription_tiers set hour_limit = null where tier = 'enterprise'"
            )
        yield stack


@pytest.fixture
def world(durable_stack: LocalStack, tmp_path: Path) -> Iterator[World]:
    with fresh_world(durable_stack, tmp_path) as world:
        world.register()
        yield world


@pytest.fixture
def proxy(durable_stack: LocalStack) -> Iterator[Proxy]:
    """Between a worker that is given its address and the gateway."""
    proxy = Proxy(durable_stack.info.ports["api_port"])
    yield proxy
    proxy.close()
