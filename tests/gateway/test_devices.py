"""What auth.sessions says of where a user is signed in, and what deleting a row there does."""

import asyncio
import json
from typing import Any

import aiohttp
import psycopg
import pytest
from psycopg.rows import dict_row
from supabase_auth.errors import AuthApiError

from flowstate_local import StackInfo

from .conftest import PASSWORD, Person, SignUp
from .waiting import soon


def sessions_of(database: psycopg.Connection, person: Person) -> list[dict[str, Any]]:
    return (
        database.cursor(row_factory=dict_row)
        .execute(
            """select id::text, user_agent, host(ip) as ip, refreshed_at, updated_at > created_at
                   as is_updated from auth.sessions where user_id = %s order by created_at""",
            (person.id,),
        )
        .fetchall()
    )


async def sign_in(
    http: aiohttp.ClientSession, info: StackInfo, person: Person, headers: dict[str, str]
) -> str:
    """Sign in as a client with these headers; gives the refresh token."""
    return await token(
        http, info, "password", {"email": person.email, "password": PASSWORD}, headers
    )


async def token(
    http: aiohttp.ClientSession,
    info: StackInfo,
    grant: str,
    body: dict[str, str],
    headers: dict[str, str],
) -> str:
    url = f"{info.api_url}/auth/v1/token?grant_type={grant}"
    sent = {"apikey": info.publishable_key, **headers}
    async with http.post(url, json=body, headers=sent) as answer:
        assert answer.status == 200, await answer.text()
        return str((await answer.json())["refresh_token"])


async def test_a_sign_in_notes_the_peer_and_its_program(
    sign_up: SignUp, database: psycopg.Connection
) -> None:
    [session] = sessions_of(database, await sign_up())
    assert session["ip"] == "127.0.0.1"
    assert "python" in session["user_agent"]
    assert session["refreshed_at"] is None


@pytest.mark.parametrize(
    ("forwarded", "noted"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("203.0.113.7, 198.51.100.2", "203.0.113.7"),
        ("2001:db8::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("unknown, 198.51.100.2", "198.51.100.2"),
        ("'; drop table auth.users; --", "127.0.0.1"),
        ("", "127.0.0.1"),
    ],
)
async def test_behind_proxies_the_first_address_is_the_clients(
    http: aiohttp.ClientSession,
    info: StackInfo,
    sign_up: SignUp,
    database: psycopg.Connection,
    forwarded: str,
    noted: str,
) -> None:
    person = await sign_up()
    await sign_in(http, info, person, {"X-Forwarded-For": forwarded, "User-Agent": "phone/1"})
    _, latest = sessions_of(database, person)
    assert (latest["ip"], latest["user_agent"]) == (noted, "phone/1")


async def test_a_program_that_names_itself_in_broken_text_can_sign_in(
    info: StackInfo, sign_up: SignUp, database: psycopg.Connection
) -> None:
    person = await sign_up()
    body = json.dumps({"email": person.email, "password": PASSWORD}).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", info.ports["api_port"])
    writer.write(
        b"POST /auth/v1/token?grant_type=password HTTP/1.1\r\nHost: localhost\r\n"
        b"Connection: close\r\nUser-Agent: phone \xff\r\n"
        + f"apikey: {info.publishable_key}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    assert (await soon(reader.readline())).startswith(b"HTTP/1.1 200")
    writer.close()
    _, latest = sessions_of(database, person)
    assert latest["user_agent"] == "phone ?"


async def test_a_refresh_notes_when_and_from_where(
    http: aiohttp.ClientSession, info: StackInfo, sign_up: SignUp, database: psycopg.Connection
) -> None:
    person = await sign_up()
    headers = {"X-Forwarded-For": "203.0.113.9", "User-Agent": "phone/2"}
    body = {"refresh_token": person.refresh_token}
    await token(http, info, "refresh_token", body, headers)
    [session] = sessions_of(database, person)
    assert (session["ip"], session["user_agent"]) == ("203.0.113.9", "phone/2")
    assert session["refreshed_at"] is not None
    assert session["is_updated"]


async def test_a_deleted_session_cannot_be_refreshed_and_others_can(
    http: aiohttp.ClientSession, info: StackInfo, sign_up: SignUp, database: psycopg.Connection
) -> None:
    person = await sign_up()
    kept = await sign_in(http, info, person, {})
    first, _ = sessions_of(database, person)
    database.execute("delete from auth.sessions where id = %s", (first["id"],))
    with pytest.raises(AuthApiError) as refused:
        await person.client.auth.refresh_session(person.refresh_token)
    assert (refused.value.status, refused.value.code) == (400, "refresh_token_not_found")
    with pytest.raises(AuthApiError) as refused:
        await person.client.auth.get_user(person.access_token)
    assert (refused.value.status, refused.value.code) == (403, "session_not_found")
    await token(http, info, "refresh_token", {"refresh_token": kept}, {})
