"""A token that was made for somebody else is refused, though its signature is right."""

import time
from typing import Any

import aiohttp
import jwt
import pytest

from flowstate_local import StackInfo

from .conftest import SignUp
from .phoenix import phoenix

WRONG: list[Any] = ["other", "Authenticated", "", ["other"], []]
RIGHT: list[Any] = ["authenticated", ["other", "authenticated"], None]


def token(info: StackInfo, audience: Any, user_id: str) -> str:
    claims = {"role": "authenticated", "sub": user_id, "exp": int(time.time()) + 60}
    return jwt.encode({**claims, "aud": audience}, info.jwt_secret)


async def answers(http: aiohttp.ClientSession, info: StackInfo, bearer: str) -> list[int]:
    """What the API, Realtime and a function that verifies its caller say to a token."""
    headers = {"apikey": info.publishable_key, "Authorization": f"Bearer {bearer}"}
    message = {"topic": "lobby", "event": "a", "payload": {}}
    statuses = []
    for path, body in (
        ("/rest/v1/rpc/whoami", {}),
        ("/realtime/v1/api/broadcast", {"messages": [message]}),
        ("/functions/v1/nothing", {}),
    ):
        async with http.post(info.api_url + path, json=body, headers=headers) as answer:
            statuses.append(answer.status)
    return statuses


@pytest.mark.parametrize("audience", WRONG)
async def test_a_token_for_another_audience_is_refused_everywhere(
    http: aiohttp.ClientSession, info: StackInfo, sign_up: SignUp, audience: Any
) -> None:
    person = await sign_up()
    wrong = token(info, audience, person.id)
    assert await answers(http, info, wrong) == [401, 401, 401]
    async with phoenix(http, info, "2.0.0") as socket:
        refused = await socket.join("lobby", token=wrong)
        assert refused["status"] == "error"
        assert "another audience" in refused["response"]["reason"]
        # And when it comes later, the channel ends.
        await socket.join("lobby", token=person.access_token)
        await socket.send("realtime:lobby", "access_token", {"access_token": wrong})
        assert "another audience" in (await socket.receive())["payload"]["message"]
    headers = {"apikey": info.publishable_key, "Authorization": f"Bearer {wrong}"}
    async with http.get(f"{info.api_url}/auth/v1/user", headers=headers) as answer:
        assert (answer.status, (await answer.json())["error_code"]) == (403, "bad_jwt")


@pytest.mark.parametrize("audience", RIGHT)
async def test_a_token_for_this_audience_or_for_none_passes(
    http: aiohttp.ClientSession, info: StackInfo, sign_up: SignUp, audience: Any
) -> None:
    person = await sign_up()
    # 404: behind the gateway there is no such function.
    assert await answers(http, info, token(info, audience, person.id)) == [200, 202, 404]


async def test_keys_and_signed_in_users_pass(
    http: aiohttp.ClientSession, info: StackInfo, sign_up: SignUp
) -> None:
    person = await sign_up()
    for bearer in (info.anon_key, info.service_role_key, person.access_token):
        assert await answers(http, info, bearer) == [200, 202, 404]
