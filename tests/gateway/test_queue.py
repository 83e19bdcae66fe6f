"""The queue as an app uses it: store a flow, queue it, read it, hear of it, with both clients."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol

import psycopg
import pytest
from postgrest.exceptions import APIError

from flowstate_local import StackInfo

from .conftest import PASSWORD, MakeClient, new_email
from .javascript import JavaScriptError, javascript
from .waiting import soon

FLOW = {
    "name": "unread",
    "definition": {
        "steps": [{"name": "find", "type": "gmail.search", "args": {"query": "is:unread"}}]
    },
}


class App(Protocol):
    """What an app does with its Supabase client, whichever that is."""

    user_id: str

    async def insert(self, table: str, values: dict[str, Any]) -> dict[str, Any]: ...

    async def select(self, table: str) -> list[dict[str, Any]]: ...

    async def rpc(self, name: str, values: dict[str, Any]) -> dict[str, Any]: ...

    async def listen(self, topic: str) -> Callable[[], Awaitable[dict[str, Any]]]: ...


class PythonApp:
    def __init__(self, client: Any, user_id: str) -> None:
        self._client = client
        self.user_id = user_id

    async def insert(self, table: str, values: dict[str, Any]) -> dict[str, Any]:
        answer = await self._client.table(table).insert(values).execute()
        return dict(answer.data[0])

    async def select(self, table: str) -> list[dict[str, Any]]:
        return list((await self._client.table(table).select("*").execute()).data)

    async def rpc(self, name: str, values: dict[str, Any]) -> dict[str, Any]:
        return dict((await self._client.rpc(name, values).execute()).data)

    async def listen(self, topic: str) -> Callable[[], Awaitable[dict[str, Any]]]:
        heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        joined = asyncio.Event()
        channel = self._client.channel(topic, {"config": {"private": True}})
        channel.on_broadcast("*", heard.put_nowait)
        await channel.subscribe(lambda _state, _error: joined.set())
        await soon(joined.wait())
        return heard.get


class JavaScriptApp:
    def __init__(self, js: Any, user_id: str) -> None:
        self._js = js
        self.user_id = user_id

    async def insert(self, table: str, values: dict[str, Any]) -> dict[str, Any]:
        return dict(await self._js("insert", name=table, values=values))

    async def select(self, table: str) -> list[dict[str, Any]]:
        return list(await self._js("select", name=table))

    async def rpc(self, name: str, values: dict[str, Any]) -> dict[str, Any]:
        return dict(await self._js("rpc", name=name, values=values))

    async def listen(self, topic: str) -> Callable[[], Awaitable[dict[str, Any]]]:
        state = await self._js("join", name=topic, private=True)
        assert state["status"] == "SUBSCRIBED"
        return lambda: self._js("received")


@asynccontextmanager
async def signed_up_in_python(info: StackInfo, make_client: MakeClient) -> AsyncIterator[App]:
    client = await make_client()
    answer = await client.auth.sign_up({"email": new_email(), "password": PASSWORD})
    assert answer.user is not None
    yield PythonApp(client, answer.user.id)


@asynccontextmanager
async def signed_up_in_javascript(info: StackInfo, make_client: MakeClient) -> AsyncIterator[App]:
    async with javascript(info) as js:
        made = await js("sign_up", email=new_email(), password=PASSWORD)
        yield JavaScriptApp(js, made["id"])


@pytest.fixture(params=[signed_up_in_python, signed_up_in_javascript], ids=["python", "javascript"])
async def app(
    request: pytest.FixtureRequest, info: StackInfo, make_client: MakeClient
) -> AsyncIterator[App]:
    async with request.param(info, make_client) as signed_up:
        yield signed_up


async def test_an_app_stores_a_flow_queues_it_reads_it_and_hears_of_it(
    app: App, database: psycopg.Connection
) -> None:
    flow = await app.insert("flows", {"user_id": app.user_id, **FLOW})
    hear = await app.listen(f"user:{app.user_id}")

    queued = await app.rpc("enqueue_flow_execution", {"flow_id": flow["id"], "input": {"n": 1}})
    assert queued["state"] == "available"
    [seen] = await app.select("flow_executions")
    assert (seen["execution_id"], seen["flow_name"]) == (queued["execution_id"], "unread")
    status = await app.rpc("get_flow_execution_status", {"execution_id": queued["execution_id"]})
    assert (status["state"], status["position"]) == ("available", 1)

    database.execute(
        """select realtime.send('{"state": "running"}', 'transition', %s, true)""",
        (f"user:{app.user_id}",),
    )
    message = await soon(hear())
    assert (message["event"], message["payload"]["state"]) == ("transition", "running")

    cancelled = await app.rpc("cancel_flow_execution", {"execution_id": queued["execution_id"]})
    assert cancelled["state"] == "cancelled"


async def test_a_refusal_tells_an_app_which_limit_it_met(app: App) -> None:
    flow = await app.insert("flows", {"user_id": app.user_id, **FLOW})
    for _ in range(5):
        await app.rpc("enqueue_flow_execution", {"flow_id": flow["id"]})
    with pytest.raises((JavaScriptError, APIError)) as refused:
        await app.rpc("enqueue_flow_execution", {"flow_id": flow["id"]})
    error = refused.value
    said = error.json() if isinstance(error, APIError) else error.args[0]
    assert said["code"] == "PT429"
    assert said["message"] == "your limit of 5 executions per hour is reached"


async def test_a_service_that_listens_for_work_is_woken_by_an_enqueue(
    app: App, info: StackInfo, make_client: MakeClient
) -> None:
    hear = await PythonApp(await make_client(info.secret_key), "").listen("flowstate:queue")
    flow = await app.insert("flows", {"user_id": app.user_id, **FLOW})
    await app.rpc("enqueue_flow_execution", {"flow_id": flow["id"]})
    assert (await soon(hear()))["event"] == "wake"
