"""Fixtures of the worker's tests: small servers, and the parts that talk to them."""

from collections.abc import AsyncIterator

import pytest

from flowstate_worker.clients.apps_script import AppsScriptClient, Budgets
from flowstate_worker.clients.database_clock import DatabaseClock
from flowstate_worker.clients.hops import instance_session
from flowstate_worker.clients.queue_client import QueueClient
from flowstate_worker.clients.supabase_client import supabase_client
from flowstate_worker.rules.addresses import Addresses
from tests.worker.fake_api import FakeApi, fake_api
from tests.worker.fake_instance import KID, SECRET, FakeInstance, fake_instance

SHORT = Budgets(
    script_seconds=60.0,
    first_hop_seconds=1.0,
    echo_seconds=0.5,
    connect_seconds=1.0,
    reread_seconds=(0.0, 0.0, 0.0),
)


@pytest.fixture
async def instance() -> AsyncIterator[FakeInstance]:
    async with fake_instance() as server:
        yield server


@pytest.fixture
async def client(instance: FakeInstance) -> AsyncIterator[AppsScriptClient]:
    """An Apps Script client that may call `instance`, with short budgets."""
    hosts = (instance.host,)
    async with instance_session(1.0) as session:
        yield AppsScriptClient(
            session, Addresses(hosts, hosts), {KID: SECRET}, now=lambda: 1.7e9, budgets=SHORT
        )


@pytest.fixture
async def api() -> AsyncIterator[FakeApi]:
    async with fake_api() as server:
        yield server


@pytest.fixture
async def queue(api: FakeApi) -> AsyncIterator[QueueClient]:
    """A queue client of processor `tests` that calls `api`."""
    async with supabase_client(api.url, "sb_secret_tests", timeout_seconds=2.0) as supabase:
        yield QueueClient(supabase, "tests", clock=DatabaseClock(), timeout_seconds=1.0)
