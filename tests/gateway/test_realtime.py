"""Channels as both protocol versions see them: joining, sending, receiving, being refused."""

import time

import aiohttp
import jwt
import psycopg
import pytest

from flowstate_local import StackInfo

from .conftest import SignUp
from .phoenix import phoenix
from .waiting import soon

VERSIONS = ("1.0.0", "2.0.0")


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def send(database: psycopg.Connection, topic: str, payload: str, *, private: bool = True) -> None:
    database.execute("select realtime.send(%s::jsonb, 'news', %s, %s)", (payload, topic, private))


def token(info: StackInfo, **claims: object) -> str:
    base = {"role": "authenticated", "sub": "00000000-0000-4000-8000-000000000001"}
    return jwt.encode({**base, "exp": int(time.time()) + 60, **claims}, info.jwt_secret)


async def test_a_join_repeats_the_postgres_changes_it_was_sent(
    http: aiohttp.ClientSession, info: StackInfo, version: str
) -> None:
    async with phoenix(http, info, version) as socket:
        joined = await socket.join("lobby")
        assert joined == {"status": "ok", "response": {"postgres_changes": []}}


async def test_asking_for_postgres_changes_is_refused_with_the_reason(
    http: aiohttp.ClientSession, info: StackInfo, version: str
) -> None:
    async with phoenix(http, info, version) as socket:
        asked = [{"event": "*", "schema": "public", "table": "notes"}]
        refused = await socket.join("lobby", postgres_changes=asked)
        assert refused["status"] == "error"
        assert "broadcasts only" in refused["response"]["reason"]


async def test_a_heartbeat_is_answered(
    http: aiohttp.ClientSession, info: StackInfo, version: str
) -> None:
    async with phoenix(http, info, version) as socket:
        assert await socket.ask("phoenix", "heartbeat", {}) == {"status": "ok", "response": {}}


@pytest.mark.parametrize("size", [10, 20_000])
async def test_a_message_from_sql_reaches_a_private_channel(
    http: aiohttp.ClientSession,
    info: StackInfo,
    version: str,
    sign_up: SignUp,
    database: psycopg.Connection,
    size: int,
) -> None:
    person = await sign_up()
    name = f"user:{person.id}"
    async with phoenix(http, info, version) as socket:
        assert (await socket.join(name, private=True, token=person.access_token))["status"] == "ok"
        text = "x" * size
        send(database, name, f'{{"text": "{text}"}}')
        got = await socket.receive()
    assert (got["topic"], got["event"], got["ref"]) == (f"realtime:{name}", "broadcast", None)
    assert (got["payload"]["type"], got["payload"]["event"]) == ("broadcast", "news")
    assert got["payload"]["payload"]["text"] == text
    assert got["payload"]["meta"]["id"] == got["payload"]["payload"]["id"]


async def test_a_stranger_is_refused_a_private_channel(
    http: aiohttp.ClientSession, info: StackInfo, version: str, sign_up: SignUp
) -> None:
    ada, ben = await sign_up(), await sign_up()
    async with phoenix(http, info, version) as socket:
        for options in ({"token": ben.access_token}, {}):
            refused = await socket.join(f"user:{ada.id}", private=True, **options)
            assert refused["status"] == "error"
            assert refused["response"]["reason"].startswith("Unauthorized")


async def test_private_messages_stay_out_of_the_public_topic_of_the_same_name(
    http: aiohttp.ClientSession, info: StackInfo, version: str, database: psycopg.Connection
) -> None:
    async with phoenix(http, info, version) as socket:
        await socket.join("lobby")
        send(database, "lobby", '{"n": 1}', private=True)
        send(database, "lobby", '{"n": 2}', private=False)
        assert (await socket.receive())["payload"]["payload"]["n"] == 2


async def test_the_service_role_joins_and_sends_anywhere(
    http: aiohttp.ClientSession, info: StackInfo, version: str
) -> None:
    async with phoenix(http, info, version, info.secret_key) as socket:
        joined = await socket.join("flowstate:queue", private=True, ack=True, echo=True)
        assert joined["status"] == "ok"
        ref = await socket.send(
            "realtime:flowstate:queue", "broadcast", {"event": "wake", "payload": {}}
        )
        frames = [await socket.receive(), await socket.receive()]
    assert {frame["event"] for frame in frames} == {"broadcast", "phx_reply"}
    reply = next(frame for frame in frames if frame["event"] == "phx_reply")
    assert (reply["ref"], reply["payload"]["status"]) == (ref, "ok")


async def test_a_sender_hears_itself_only_when_it_asked_to(
    http: aiohttp.ClientSession, info: StackInfo, version: str
) -> None:
    async with (
        phoenix(http, info, version) as quiet,
        phoenix(http, info, "1.0.0") as echoing,
    ):
        await quiet.join("lobby")
        await echoing.join("lobby", echo=True)
        await quiet.send("realtime:lobby", "broadcast", {"event": "a", "payload": {}})
        assert (await echoing.receive())["payload"]["event"] == "a"
        await echoing.send("realtime:lobby", "broadcast", {"event": "b", "payload": {}})
        assert (await echoing.receive())["payload"]["event"] == "b"
        # Had it heard itself, "a" would have come first.
        assert (await quiet.receive())["payload"]["event"] == "b"


async def test_who_may_only_receive_cannot_send(
    http: aiohttp.ClientSession, info: StackInfo, version: str, sign_up: SignUp
) -> None:
    person = await sign_up()
    options = {"private": True, "ack": True, "token": person.access_token}
    async with phoenix(http, info, version) as socket, phoenix(http, info, version) as other:
        for name, status in ((f"user:{person.id}", "error"), (f"room:{person.id}", "ok")):
            await socket.join(name, **options)
            await other.join(name, **options)
            said = await socket.ask(f"realtime:{name}", "broadcast", {"event": name, "payload": {}})
            assert said["status"] == status
        assert (await other.receive())["payload"]["event"] == f"room:{person.id}"


async def test_an_expired_token_is_refused_and_an_expiring_one_closes_the_channel(
    http: aiohttp.ClientSession, info: StackInfo, version: str
) -> None:
    async with phoenix(http, info, version) as socket:
        refused = await socket.join("lobby", token=token(info, exp=int(time.time()) - 5))
        assert refused["response"]["reason"] == "InvalidJWTToken: Token has expired"
        refused = await socket.join("lobby", token="not.a.token")
        assert refused["response"]["reason"].startswith("MalformedJWT")

        joined = await socket.join("lobby", token=token(info, exp=int(time.time()) + 1))
        assert joined["status"] == "ok"
        said, closed = await socket.receive(), await socket.receive()
    assert said["event"] == "system"
    assert said["payload"]["status"] == "error"
    assert said["payload"]["message"] == "Token has expired"
    assert closed["event"] == "phx_close"


async def test_a_refreshed_token_keeps_the_channel_and_a_worse_one_closes_it(
    http: aiohttp.ClientSession,
    info: StackInfo,
    version: str,
    sign_up: SignUp,
    database: psycopg.Connection,
) -> None:
    ada, ben = await sign_up(), await sign_up()
    refreshed, left = f"user:{ada.id}", f"room:{ada.id}"
    topic = f"realtime:{refreshed}"
    brief = token(info, sub=ada.id, exp=int(time.time()) + 2)
    async with phoenix(http, info, version) as socket:
        await socket.join(refreshed, private=True, token=brief)
        await socket.join(left, private=True, token=brief)
        await socket.send(topic, "access_token", {"access_token": ada.access_token})
        await socket.send(topic, "access_token", {"access_token": info.publishable_key})
        # The channel that kept the brief token tells when that one has expired.
        for event in ("system", "phx_close"):
            ended = await socket.receive()
            assert (ended["topic"], ended["event"]) == (f"realtime:{left}", event)
        send(database, refreshed, '{"n": 1}')
        assert (await socket.receive())["event"] == "broadcast"

        await socket.send(topic, "access_token", {"access_token": ben.access_token})
        assert (await socket.receive())["payload"]["message"].startswith("Unauthorized")
        assert (await socket.receive())["event"] == "phx_close"


async def test_after_leaving_nothing_is_delivered(
    http: aiohttp.ClientSession, info: StackInfo, version: str, database: psycopg.Connection
) -> None:
    async with phoenix(http, info, version) as socket:
        await socket.join("lobby")
        assert (await socket.ask("realtime:lobby", "phx_leave", {}))["status"] == "ok"
        assert (await socket.receive())["event"] == "phx_close"
        send(database, "lobby", "{}", private=False)
        answer = await socket.ask("realtime:lobby", "broadcast", {"event": "a", "payload": {}})
        assert answer == {"status": "error", "response": {"reason": "unmatched topic"}}


async def test_presence_is_accepted_and_empty(
    http: aiohttp.ClientSession, info: StackInfo, version: str
) -> None:
    async with phoenix(http, info, version) as socket:
        await socket.join("lobby", presence=True)
        state = await socket.receive()
        assert (state["event"], state["payload"]) == ("presence_state", {})
        tracked = await socket.ask("realtime:lobby", "presence", {"event": "track", "payload": {}})
        assert tracked["status"] == "ok"


async def test_a_broken_frame_closes_the_connection(
    http: aiohttp.ClientSession, info: StackInfo, version: str
) -> None:
    async with phoenix(http, info, version) as socket:
        await socket.socket.send_str("{")
        closed = await soon(socket.socket.receive())
        assert closed.type is aiohttp.WSMsgType.CLOSE
        assert closed.data == 1003


async def test_a_client_that_does_not_read_is_cut_off_and_nobody_waits_for_it(
    http: aiohttp.ClientSession, info: StackInfo, version: str
) -> None:
    url = f"{info.api_url}/realtime/v1/api/broadcast"
    message = {"topic": "flood", "event": "a", "payload": "x" * 20_000}
    async with phoenix(http, info, version) as deaf, phoenix(http, info, version) as other:
        await deaf.join("flood")
        await other.join("lobby")
        batch = {"messages": [message] * 50}
        for _ in range(80):
            async with http.post(url, json=batch, headers={"apikey": info.secret_key}) as answer:
                assert answer.status == 202
        assert (await other.ask("phoenix", "heartbeat", {}))["status"] == "ok"
        heard = 0
        while (await soon(deaf.socket.receive())).type is aiohttp.WSMsgType.TEXT:
            heard += 1
        assert heard < 80 * 50


async def test_broadcasts_can_be_posted(
    http: aiohttp.ClientSession, info: StackInfo, version: str, sign_up: SignUp
) -> None:
    person = await sign_up()
    name = f"room:{person.id}"
    url = f"{info.api_url}/realtime/v1/api/broadcast"
    headers = {"apikey": info.publishable_key, "Authorization": f"Bearer {person.access_token}"}
    message = {"topic": name, "event": "a", "payload": {"n": 1}, "private": True}
    async with phoenix(http, info, version) as socket:
        await socket.join(name, private=True, token=person.access_token)
        async with http.post(url, json={"messages": [message]}, headers=headers) as answer:
            assert answer.status == 202
        single = f"{url}/{name}/events/b?private=true"
        async with http.post(single, json={"n": 2}, headers=headers) as answer:
            assert answer.status == 202
        got = [(await socket.receive())["payload"] for _ in range(2)]
    assert [(one["event"], one["payload"]) for one in got] == [("a", {"n": 1}), ("b", {"n": 2})]


async def test_posting_to_a_private_topic_needs_permission(
    http: aiohttp.ClientSession, info: StackInfo, sign_up: SignUp
) -> None:
    person = await sign_up()
    url = f"{info.api_url}/realtime/v1/api/broadcast"
    message = {"topic": f"room:{person.id}", "event": "a", "payload": {}, "private": True}
    for key, status in ((info.publishable_key, 403), (info.secret_key, 202)):
        async with http.post(url, json={"messages": [message]}, headers={"apikey": key}) as answer:
            assert answer.status == status
    for body in (b"{", b"{}", b'{"messages": [{}]}', b'{"messages": [{"topic": "t"}]}'):
        async with http.post(url, data=body, headers={"apikey": info.secret_key}) as answer:
            assert answer.status == 422
