"""The same promises through supabase-js, whose Realtime speaks protocol 2.0.0 and binary frames."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
from supabase import AsyncClient

from flowstate_local import StackInfo

from .conftest import PASSWORD, SignUp, new_email
from .javascript import JavaScript, JavaScriptError, javascript
from .waiting import soon


@pytest.fixture
async def js(info: StackInfo) -> AsyncIterator[JavaScript]:
    async with javascript(info) as client:
        yield client


async def test_signing_up_in_and_refreshing(js: JavaScript, database: psycopg.Connection) -> None:
    email = new_email()
    made = await js("sign_up", email=email, password=PASSWORD)
    assert (await js("sign_in", email=email, password=PASSWORD))["id"] == made["id"]
    assert await js("user") == {"id": made["id"], "email": email}

    first = made["refresh_token"]
    second = (await js("refresh", refresh_token=first))["refresh_token"]
    third = (await js("refresh", refresh_token=second))["refresh_token"]
    assert len({first, second, third}) == 3
    database.execute(
        """update auth.refresh_tokens set updated_at = updated_at - interval '11 seconds'
           where token = %s""",
        (first,),
    )
    with pytest.raises(JavaScriptError) as refused:
        await js("refresh", refresh_token=first)
    assert refused.value.args[0]["code"] == "refresh_token_already_used"


async def test_refusals_become_its_usual_errors(js: JavaScript) -> None:
    with pytest.raises(JavaScriptError) as refused:
        await js("sign_in", email=new_email(), password=PASSWORD)
    said = refused.value.args[0]
    assert (said["name"], said["status"], said["code"]) == (
        "AuthApiError",
        400,
        "invalid_credentials",
    )
    with pytest.raises(JavaScriptError) as refused:
        await js("sign_up", email=new_email(), password="short")
    assert refused.value.args[0]["name"] == "AuthWeakPasswordError"


async def test_a_user_reads_their_own_rows_only(js: JavaScript, sign_up: SignUp) -> None:
    other = await sign_up()
    await other.client.table("notes").insert({"body": "not yours"}).execute()
    await js("sign_up", email=new_email(), password=PASSWORD)
    await js("write_note", body="mine")
    assert await js("read_notes") == {"bodies": ["mine"], "count": 1}


async def test_the_secret_key_administers(info: StackInfo, sign_up: SignUp) -> None:
    await sign_up()
    await sign_up()
    async with javascript(info, key=info.secret_key) as admin:
        listed = await admin("list_users")
    assert listed["count"] == 1
    assert listed["total"] >= 2
    assert listed["next"] == 2


@pytest.mark.parametrize("version", ["1.0.0", "2.0.0"])
async def test_a_message_from_sql_reaches_its_private_channel(
    info: StackInfo, database: psycopg.Connection, version: str
) -> None:
    async with javascript(info, version=version) as js:
        made = await js("sign_up", email=new_email(), password=PASSWORD)
        name = f"user:{made['id']}"
        assert (await js("join", name=name, private=True))["status"] == "SUBSCRIBED"
        database.execute("select realtime.send('{\"n\": 1}', 'news', %s, true)", (name,))
        got = await js("received")
        assert (got["event"], got["payload"]["n"]) == ("news", 1)
        assert await js("leave", name=name) == "ok"


async def test_a_stranger_is_refused_a_private_channel(js: JavaScript, sign_up: SignUp) -> None:
    person = await sign_up()
    await js("sign_up", email=new_email(), password=PASSWORD)
    state = await js("join", name=f"user:{person.id}", private=True)
    assert state["status"] == "CHANNEL_ERROR"
    assert "Unauthorized" in state["error"]


async def test_broadcasts_travel_between_python_and_javascript(
    js: JavaScript, client: AsyncClient
) -> None:
    heard: asyncio.Queue[Any] = asyncio.Queue()
    channel = client.channel("lobby")
    channel.on_broadcast("*", heard.put_nowait)
    await channel.subscribe()

    # It is sent as a binary frame, and sent with an acknowledgement: both are answered.
    assert (await js("join", name="lobby", ack=True))["status"] == "SUBSCRIBED"
    assert await js("send", name="lobby", event="grüß", payload={"n": 1}) == "ok"
    message = await soon(heard.get())
    assert (message["event"], message["payload"]) == ("grüß", {"n": 1})

    await channel.send_broadcast("reply", {"n": 2})
    assert await js("received") == {"event": "reply", "payload": {"n": 2}}

    await js("http_send", name="lobby", event="posted", payload={"n": 3})
    message = await soon(heard.get())
    assert (message["event"], message["payload"]) == ("posted", {"n": 3})


async def test_bytes_arrive_as_bytes(info: StackInfo, js: JavaScript) -> None:
    async with javascript(info) as other:
        await js("join", name="bytes")
        await other("join", name="bytes")
        await js("send", name="bytes", event="raw", payload=[0, 255, 7], binary=True)
        assert await other("received") == {"event": "raw", "payload": [0, 255, 7]}
