"""`/functions/v1`: functions run as they are deployed, and the gateway decides who may call."""

import tomllib

import aiohttp
import psycopg
import pytest
from supabase import AsyncClient
from supabase_functions.errors import FunctionsHttpError, FunctionsRelayError

from flowstate_local import LocalStack, StackInfo, project

from .conftest import SignUp
from .javascript import javascript

HEALTH = "/functions/v1/health-checker"


async def health(http: aiohttp.ClientSession, info: StackInfo) -> tuple[int, dict[str, str]]:
    async with http.get(info.api_url + HEALTH) as answer:
        return answer.status, await answer.json()


async def test_the_health_checker_answers_ok_without_a_token(
    http: aiohttp.ClientSession, info: StackInfo
) -> None:
    status, body = await health(http, info)
    assert status == 200
    assert body.pop("checked_at").endswith("Z")
    assert body == {"status": "ok", "database": "ok", "queue": "running"}


async def test_the_health_checker_answers_supabase_clients(
    info: StackInfo, client: AsyncClient
) -> None:
    answer = await client.functions.invoke(
        "health-checker", {"method": "GET", "responseType": "json"}
    )
    assert isinstance(answer, dict)
    assert answer["status"] == "ok"
    async with javascript(info) as js:
        assert (await js("invoke", name="health-checker"))["status"] == "ok"


async def test_a_paused_queue_is_reported_and_is_not_a_failure(
    http: aiohttp.ClientSession, info: StackInfo, database: psycopg.Connection
) -> None:
    database.execute("update public.load_balancer_config set paused_at = now()")
    try:
        status, body = await health(http, info)
        assert (status, body["status"], body["queue"]) == (200, "ok", "paused")
    finally:
        database.execute("update public.load_balancer_config set paused_at = null")


async def test_without_migrations_the_health_checker_says_503(
    stack: LocalStack,
    http: aiohttp.ClientSession,
    info: StackInfo,
    client: AsyncClient,
    database: psycopg.Connection,
) -> None:
    database.execute("alter function public.get_queue_status() rename to gone")
    stack.reload_schema()
    try:
        status, body = await health(http, info)
        assert (status, body["status"]) == (503, "unavailable")
        assert (body["database"], body["queue"]) == ("ok", "unknown")
        with pytest.raises(FunctionsHttpError) as refused:
            await client.functions.invoke("health-checker", {"method": "GET"})
        assert refused.value.status == 503
    finally:
        database.execute("alter function public.gone() rename to get_queue_status")
        stack.reload_schema()


@pytest.mark.parametrize("part", ["postgrest", "postgres"])
async def test_with_a_part_down_the_health_checker_says_so(
    stack: LocalStack, http: aiohttp.ClientSession, info: StackInfo, part: str
) -> None:
    stack.stop(part)
    try:
        status, body = await health(http, info)
        assert (status, body["status"]) == (503, "unavailable")
        assert (body["database"], body["queue"]) == ("unreachable", "unknown")
    finally:
        stack.start(part)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_other_methods_are_405_json(
    http: aiohttp.ClientSession, info: StackInfo, method: str
) -> None:
    async with http.request(method, info.api_url + HEALTH) as answer:
        assert answer.status == 405
        assert answer.headers["Allow"] == "GET"
        assert (await answer.json())["code"] == "method_not_allowed"


async def test_a_function_answers_its_own_preflight(
    http: aiohttp.ClientSession, info: StackInfo
) -> None:
    asked = {"Origin": "https://app.example.com", "Access-Control-Request-Method": "GET"}
    async with http.options(info.api_url + HEALTH, headers=asked) as answer:
        assert answer.status == 204
        assert answer.headers["Access-Control-Allow-Methods"] == "GET"
        assert answer.headers.getall("Access-Control-Allow-Origin") == ["*"]


@pytest.mark.parametrize("name", ["nothing", "_shared", "health-checker.ts", "%2e%2e"])
async def test_an_unknown_function_is_404_json(
    http: aiohttp.ClientSession, info: StackInfo, name: str
) -> None:
    headers = {"Authorization": f"Bearer {info.anon_key}"}
    async with http.get(f"{info.api_url}/functions/v1/{name}", headers=headers) as answer:
        assert answer.status == 404


async def test_functions_verify_tokens_unless_the_config_says_otherwise(
    http: aiohttp.ClientSession, info: StackInfo, sign_up: SignUp
) -> None:
    # No such function: 401 comes from the gateway, 404 from behind it.
    url = f"{info.api_url}/functions/v1/nothing"
    person = await sign_up()
    for bearer, status in (
        (None, 401),
        ("not.a.token", 401),
        (info.publishable_key, 401),
        (info.secret_key, 401),
        (info.anon_key, 404),
        (person.access_token, 404),
    ):
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        async with http.get(url, headers=headers) as answer:
            assert answer.status == status
            body = await answer.json()
        assert body["code"]
        if bearer and bearer.startswith("sb_"):
            assert "a publishable or secret key is not one" in body["message"]


def test_every_function_is_deployed_with_the_import_map() -> None:
    supabase = project.ROOT / "supabase"
    configured = tomllib.loads((supabase / "config.toml").read_text())["functions"]
    for entrypoint in (supabase / "functions").glob("*/index.ts"):
        name = entrypoint.parent.name
        assert configured[name]["import_map"] == "./functions/deno.json", name


async def test_without_the_host_clients_get_a_relay_error(
    stack: LocalStack, client: AsyncClient
) -> None:
    stack.stop("functions")
    try:
        with pytest.raises(FunctionsRelayError, match="functions host is not running"):
            await client.functions.invoke("health-checker", {"method": "GET"})
    finally:
        stack.start("functions")
