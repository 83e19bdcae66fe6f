"""`/rest/v1`: what PostgREST is asked and answers passes through unchanged."""

import asyncio

import aiohttp
import psycopg
import pytest
from postgrest.exceptions import APIError
from supabase import AsyncClient

from flowstate_local import LocalStack, StackInfo

from .conftest import SignUp
from .waiting import eventually


async def test_row_security_holds_for_signed_in_users(
    sign_up: SignUp, client: AsyncClient, admin: AsyncClient
) -> None:
    ada, ben = await sign_up(), await sign_up()
    await ada.client.table("notes").insert({"body": "ada's"}).execute()

    mine = await ada.client.table("notes").select("body").execute()
    assert mine.data == [{"body": "ada's"}]
    assert (await ben.client.table("notes").select("body").execute()).data == []
    with pytest.raises(APIError, match="permission denied"):
        await client.table("notes").select("body").execute()
    all_of_adas = await admin.table("notes").select("body").eq("user_id", ada.id).execute()
    assert all_of_adas.data == [{"body": "ada's"}]


async def test_counts_arrive_in_content_range(sign_up: SignUp) -> None:
    person = await sign_up()
    rows = [{"body": str(number)} for number in range(7)]
    await person.client.table("notes").insert(rows).execute()
    answer = await person.client.table("notes").select("*", count="exact").range(0, 2).execute()  # type: ignore[arg-type]
    assert (len(answer.data), answer.count) == (3, 7)
    headed = await person.client.table("notes").select("*", count="exact", head=True).execute()  # type: ignore[arg-type]
    assert headed.count == 7


async def test_a_refusal_keeps_its_status_and_retry_after(
    http: aiohttp.ClientSession, info: StackInfo
) -> None:
    headers = {"apikey": info.publishable_key}
    async with http.post(
        f"{info.api_url}/rest/v1/rpc/too_many", json={}, headers=headers
    ) as answer:
        assert answer.status == 429
        assert answer.headers["Retry-After"] == "7"
        assert (await answer.json())["message"] == "slow down"


async def test_filters_are_passed_on_as_they_were_written(
    http: aiohttp.ClientSession, info: StackInfo, sign_up: SignUp
) -> None:
    person = await sign_up()
    body = 'a/b?c&d=e+f%20"ü"'
    await person.client.table("notes").insert({"body": body}).execute()
    found = await person.client.table("notes").select("body").eq("body", body).execute()
    assert found.data == [{"body": body}]


async def test_sql_sees_by_which_way_a_request_came(
    http: aiohttp.ClientSession, info: StackInfo
) -> None:
    url = f"{info.api_url}/rest/v1/rpc/request_headers"
    plain = {"apikey": info.publishable_key, "X-Client-Info": "flowstate-test/1"}
    async with http.post(url, json={}, headers=plain) as answer:
        seen = await answer.json()
    assert seen["x-forwarded-for"] == "127.0.0.1"
    assert seen["x-forwarded-proto"] == "http"
    assert seen["x-forwarded-host"] == info.api_url.removeprefix("http://")
    assert seen["x-client-info"] == "flowstate-test/1"

    through_proxies = {
        **plain,
        "X-Forwarded-For": "203.0.113.7, 198.51.100.2",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "app.example.com",
    }
    async with http.post(url, json={}, headers=through_proxies) as answer:
        seen = await answer.json()
    assert seen["x-forwarded-for"] == "203.0.113.7, 198.51.100.2, 127.0.0.1"
    assert seen["x-forwarded-proto"] == "https"
    assert seen["x-forwarded-host"] == "app.example.com"


async def test_large_bodies_stream_both_ways(sign_up: SignUp) -> None:
    person = await sign_up()
    large = "x" * 3_000_000
    await person.client.table("notes").insert({"body": large}).execute()
    answer = await person.client.table("notes").select("body").execute()
    assert answer.data == [{"body": large}]


async def test_a_browser_may_ask_from_anywhere(
    http: aiohttp.ClientSession, info: StackInfo
) -> None:
    url = f"{info.api_url}/rest/v1/rpc/whoami"
    asked = {
        "Origin": "https://app.example.com",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "apikey,content-type,prefer",
    }
    async with http.options(url, headers=asked) as preflight:
        assert preflight.status == 204
        assert preflight.headers["Access-Control-Allow-Origin"] == "*"
        assert "prefer" in preflight.headers["Access-Control-Allow-Headers"]
        assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
    sent = {"Origin": "https://app.example.com", "apikey": info.publishable_key}
    async with http.post(url, headers=sent) as answer:
        assert answer.headers.getall("Access-Control-Allow-Origin") == ["*"]
        assert "Content-Range" in answer.headers["Access-Control-Expose-Headers"]
    async with http.post(url, headers={"Origin": "https://app.example.com"}) as refused:
        assert refused.status == 401
        assert refused.headers["Access-Control-Allow-Origin"] == "*"


async def test_without_postgrest_the_answer_is_503_json(
    stack: LocalStack, http: aiohttp.ClientSession, info: StackInfo, admin: AsyncClient
) -> None:
    stack.stop("postgrest")
    try:
        headers = {"apikey": info.secret_key}
        async with http.post(
            f"{info.api_url}/rest/v1/rpc/whoami", json={}, headers=headers
        ) as answer:
            assert answer.status == 503
            assert (await answer.json())["message"] == "PostgREST is not running"
        with pytest.raises(APIError, match="PostgREST is not running"):
            await admin.rpc("whoami", {}).execute()
    finally:
        stack.start("postgrest")
    assert (await admin.rpc("whoami", {}).execute()).data == "service_role"


async def test_postgrest_dying_in_mid_request_is_502_not_silence(
    stack: LocalStack,
    http: aiohttp.ClientSession,
    info: StackInfo,
    database: psycopg.Connection,
) -> None:
    headers = {"apikey": info.secret_key}
    asked = asyncio.create_task(
        http.post(f"{info.api_url}/rest/v1/rpc/wait", json={"seconds": 60}, headers=headers)
    )

    async def is_waiting() -> bool | None:
        row = database.execute(
            "select 1 from pg_stat_activity where wait_event = 'PgSleep'"
        ).fetchone()
        return True if row else None

    await eventually(is_waiting)
    stack.kill("postgrest")
    try:
        answer = await asked
        assert answer.status == 502
        assert "broke off" in (await answer.json())["message"]
    finally:
        database.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where wait_event = 'PgSleep'"
        )
        stack.start("postgrest")


async def test_an_unknown_path_is_404_json(http: aiohttp.ClientSession, info: StackInfo) -> None:
    headers = {"apikey": info.publishable_key}
    for path in ("/", "/graphql/v1", "/storage/v1/bucket", "/auth/v1/otp"):
        async with http.get(info.api_url + path, headers=headers) as answer:
            assert answer.status == 404
            assert "no Route matched" in (await answer.json())["message"]
