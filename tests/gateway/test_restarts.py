"""Parts that end and come back: clients find their way again, and stopping is quick."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from realtime import AsyncRealtimeChannel, RealtimeSubscribeStates

from flowstate_local import LocalStack, StackInfo

from .conftest import SignUp
from .javascript import JavaScript, javascript
from .waiting import eventually, soon

PRIVATE = {
    "config": {
        "private": True,
        "broadcast": {"ack": False, "self": False},
        "presence": {"key": "", "enabled": False},
    }
}


@pytest.fixture
async def js(info: StackInfo) -> AsyncIterator[JavaScript]:
    async with javascript(info, key=info.secret_key) as client:
        yield client


class Listening:
    """A supabase-py channel that notes what it hears and what happens to it."""

    def __init__(self, channel: AsyncRealtimeChannel) -> None:
        self.heard: asyncio.Queue[Any] = asyncio.Queue()
        self.states: asyncio.Queue[RealtimeSubscribeStates] = asyncio.Queue()
        self._channel = channel
        channel.on_broadcast("*", self.heard.put_nowait)

    async def join(self) -> None:
        await self._channel.subscribe(lambda state, _: self.states.put_nowait(state))
        await self.until(RealtimeSubscribeStates.SUBSCRIBED)

    async def until(self, wanted: RealtimeSubscribeStates) -> None:
        while await soon(self.states.get()) is not wanted:
            pass


async def test_clients_come_back_after_the_gateway_was_restarted(
    stack: LocalStack, js: JavaScript, sign_up: SignUp, database: psycopg.Connection
) -> None:
    person = await sign_up()
    name = f"user:{person.id}"
    python = Listening(person.client.channel(name, PRIVATE))  # type: ignore[arg-type]
    await python.join()
    await js("join", name=name, private=True)
    stack.stop("gateway")
    stack.start("gateway")
    await python.until(RealtimeSubscribeStates.SUBSCRIBED)
    while (await js("state"))["status"] != "SUBSCRIBED":
        pass
    database.execute("select realtime.send('{}', 'again', %s, true)", (name,))
    heard = await soon(python.heard.get())
    assert heard["event"] == "again"
    assert (await js("received"))["event"] == "again"
    # Sessions are rows, not memory: the user is still signed in.
    await person.client.auth.get_user()


async def test_messages_flow_again_after_postgres_was_killed(
    stack: LocalStack, info: StackInfo, sign_up: SignUp
) -> None:
    person = await sign_up()
    name = f"user:{person.id}"
    python = Listening(person.client.channel(name, PRIVATE))  # type: ignore[arg-type]
    await python.join()
    stack.kill("postgres", mode="immediate")
    stack.start("postgres")

    async def heard_something() -> Any:
        # The listener comes back by itself; nothing tells when, so send until one arrives.
        with psycopg.connect(info.admin_db_url, autocommit=True) as connection:
            connection.execute("select realtime.send('{}', 'again', %s, true)", (name,))
        return None if python.heard.empty() else python.heard.get_nowait()

    heard = await eventually(heard_something)
    assert heard["event"] == "again"


async def test_the_gateway_ends_at_once_with_clients_connected(
    stack: LocalStack, info: StackInfo, js: JavaScript
) -> None:
    await js("join", name="lobby")
    pid = info.pids["gateway"]
    try:
        os.kill(pid, signal.SIGTERM)

        async def is_gone() -> bool | None:
            return None if stack.is_running("gateway") else True

        await asyncio.wait_for(eventually(is_gone), 2)
    finally:
        stack.start("gateway")


async def test_an_unusable_config_is_refused_by_field_and_without_its_value(tmp_path: Path) -> None:
    config = tmp_path / "gateway.json"
    config.write_text('{"port": 0, "jwt_secret": "a-canary"}')
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "flowstate_local.gateway",
        "--config",
        str(config),
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await soon(process.communicate())
    assert process.returncode == 2
    assert b"db_url" in said
    assert b"jwt_secret" in said
    assert b"a-canary" not in said
