"""Which keys open the gateway, and as whom they speak."""

import time
from collections.abc import Callable

import aiohttp
import jwt
import pytest

from flowstate_local import StackInfo

from .conftest import SignUp

Headers = Callable[[StackInfo], dict[str, str]]


async def whoami(
    http: aiohttp.ClientSession, info: StackInfo, headers: dict[str, str]
) -> tuple[int, object]:
    async with http.post(f"{info.api_url}/rest/v1/rpc/whoami", json={}, headers=headers) as answer:
        return answer.status, await answer.json()


def forged_key(info: StackInfo) -> str:
    claims = {"iss": "supabase", "role": "service_role", "exp": int(time.time()) + 3600}
    return jwt.encode(claims, info.jwt_secret, algorithm="HS256")


@pytest.mark.parametrize(
    ("headers", "role"),
    [
        pytest.param(lambda i: {"apikey": i.publishable_key}, "anon", id="publishable"),
        pytest.param(lambda i: {"apikey": i.secret_key}, "service_role", id="secret"),
        pytest.param(lambda i: {"apikey": i.anon_key}, "anon", id="legacy anon"),
        pytest.param(lambda i: {"apikey": i.service_role_key}, "service_role", id="legacy service"),
        pytest.param(
            lambda i: {
                "apikey": i.secret_key,
                "Authorization": f"Bearer {i.secret_key}",
            },
            "service_role",
            id="the key repeated as bearer",
        ),
        pytest.param(
            lambda i: {"apikey": i.publishable_key, "Authorization": f"Bearer {i.secret_key}"},
            "service_role",
            id="another key as bearer",
        ),
        pytest.param(
            lambda i: {"apikey": i.secret_key, "Authorization": f"Bearer {i.anon_key}"},
            "anon",
            id="a JWT as bearer",
        ),
    ],
)
async def test_a_key_speaks_as_its_role(
    http: aiohttp.ClientSession, info: StackInfo, headers: Headers, role: str
) -> None:
    assert await whoami(http, info, headers(info)) == (200, role)


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        pytest.param(lambda i: {}, "No API key found in request", id="none"),
        pytest.param(lambda i: {"apikey": ""}, "No API key found in request", id="empty"),
        pytest.param(
            lambda i: {"Authorization": f"Bearer {i.service_role_key}"},
            "No API key found in request",
            id="only a bearer",
        ),
        pytest.param(
            lambda i: {"apikey": "sb_secret_0000"}, "Invalid API key", id="wrong secret key"
        ),
        pytest.param(
            lambda i: {"apikey": i.secret_key[:-1]}, "Invalid API key", id="cut-off secret key"
        ),
        pytest.param(
            lambda i: {"apikey": forged_key(i)}, "Invalid API key", id="a JWT that is no key"
        ),
        pytest.param(
            lambda i: {"apikey": i.publishable_key, "Authorization": "Bearer sb_secret_0000"},
            "Invalid API key",
            id="wrong key as bearer",
        ),
    ],
)
async def test_a_missing_or_wrong_key_is_refused(
    http: aiohttp.ClientSession, info: StackInfo, headers: Headers, message: str
) -> None:
    status, body = await whoami(http, info, headers(info))
    assert status == 401
    assert isinstance(body, dict)
    assert body["message"] == message
    assert body["hint"]


@pytest.mark.parametrize("path", ["/rest/v1/notes", "/auth/v1/user", "/realtime/v1/api/broadcast"])
async def test_no_part_answers_without_a_key(
    http: aiohttp.ClientSession, info: StackInfo, path: str
) -> None:
    async with http.get(info.api_url + path) as answer:
        assert answer.status == 401


async def test_a_key_in_the_address_opens_websockets_only(
    http: aiohttp.ClientSession, info: StackInfo
) -> None:
    query = f"?apikey={info.secret_key}"
    async with http.get(f"{info.api_url}/rest/v1/notes{query}") as answer:
        assert answer.status == 401
    async with http.ws_connect(f"{info.api_url}/realtime/v1/websocket{query}&vsn=1.0.0"):
        pass
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await http.ws_connect(f"{info.api_url}/realtime/v1/websocket?apikey=wrong")
    assert refused.value.status == 401


async def test_a_users_token_is_passed_on(
    http: aiohttp.ClientSession, info: StackInfo, sign_up: SignUp
) -> None:
    person = await sign_up()
    headers = {"apikey": info.secret_key, "Authorization": f"Bearer {person.access_token}"}
    assert await whoami(http, info, headers) == (200, "authenticated")


async def test_health_needs_no_key(http: aiohttp.ClientSession, info: StackInfo) -> None:
    async with http.get(f"{info.api_url}/health") as answer:
        assert (answer.status, await answer.json()) == (200, {"status": "ok"})
