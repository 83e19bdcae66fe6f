"""`/auth/v1` for users, through supabase-py: it raises its usual errors."""

import time
from typing import Literal

import aiohttp
import jwt
import psycopg
import pytest
from supabase import AsyncClient
from supabase_auth.errors import (
    AuthApiError,
    AuthRetryableError,
    AuthWeakPasswordError,
)

from flowstate_local import LocalStack, StackInfo

from .conftest import PASSWORD, MakeClient, SignUp, new_email


async def test_signing_up_signs_in_and_confirms_at_once(sign_up: SignUp) -> None:
    person = await sign_up()
    answer = await person.client.auth.get_user()
    assert answer is not None
    assert answer.user.email == person.email
    assert answer.user.email_confirmed_at is not None
    assert answer.user.app_metadata == {"provider": "email", "providers": ["email"]}


async def test_an_access_token_has_the_claims_of_a_hosted_one(
    sign_up: SignUp, info: StackInfo
) -> None:
    person = await sign_up()
    claims = jwt.decode(
        person.access_token, info.jwt_secret, algorithms=["HS256"], audience="authenticated"
    )
    assert claims["iss"] == f"{info.api_url}/auth/v1"
    assert claims["sub"] == person.id
    assert claims["role"] == "authenticated"
    assert claims["email"] == person.email
    assert claims["aal"] == "aal1"
    assert claims["amr"][0]["method"] == "password"
    assert claims["session_id"]
    assert claims["exp"] - claims["iat"] == 3600
    assert claims["user_metadata"] == {}
    assert claims["is_anonymous"] is False


async def test_user_metadata_is_kept_and_merged(client: AsyncClient) -> None:
    await client.auth.sign_up(
        {"email": new_email(), "password": PASSWORD, "options": {"data": {"a": 1, "b": 2}}}
    )
    answer = await client.auth.update_user({"data": {"b": None, "c": 3}})
    assert answer.user.user_metadata == {"a": 1, "c": 3}


async def test_signing_in_ignores_the_case_of_the_address(
    sign_up: SignUp, client: AsyncClient
) -> None:
    person = await sign_up()
    answer = await client.auth.sign_in_with_password(
        {"email": person.email.upper(), "password": PASSWORD}
    )
    assert answer.user is not None
    assert answer.user.id == person.id


@pytest.mark.parametrize("password", ["wrong horse", PASSWORD + "x" * 72])
async def test_a_wrong_password_and_an_unknown_address_get_one_answer(
    sign_up: SignUp, client: AsyncClient, password: str
) -> None:
    person = await sign_up()
    for email in (person.email, new_email()):
        with pytest.raises(AuthApiError, match="Invalid login credentials") as refused:
            await client.auth.sign_in_with_password({"email": email, "password": password})
        assert (refused.value.status, refused.value.code) == (400, "invalid_credentials")


async def test_an_address_can_be_used_once(sign_up: SignUp, client: AsyncClient) -> None:
    person = await sign_up()
    with pytest.raises(AuthApiError) as refused:
        await client.auth.sign_up({"email": person.email.upper(), "password": PASSWORD})
    assert (refused.value.status, refused.value.code) == (422, "user_already_exists")


async def test_a_weak_password_and_a_bad_address_are_refused(client: AsyncClient) -> None:
    with pytest.raises(AuthWeakPasswordError):
        await client.auth.sign_up({"email": new_email(), "password": "short"})
    with pytest.raises(AuthApiError, match="Unable to validate email address") as refused:
        await client.auth.sign_up({"email": "nobody", "password": PASSWORD})
    assert refused.value.code == "validation_failed"


async def test_a_refresh_gives_new_tokens_of_the_same_session(sign_up: SignUp) -> None:
    person = await sign_up()
    answer = await person.client.auth.refresh_session()
    assert answer.session is not None
    assert answer.session.refresh_token != person.refresh_token
    assert session_of(answer.session.access_token) == session_of(person.access_token)


async def test_a_client_that_lost_the_answer_may_refresh_again(sign_up: SignUp) -> None:
    person = await sign_up()
    first = await person.client.auth.refresh_session(person.refresh_token)
    again = await person.client.auth.refresh_session(person.refresh_token)
    assert first.session is not None
    assert again.session is not None
    assert again.session.refresh_token == first.session.refresh_token


async def test_two_refreshes_within_the_reuse_interval_both_succeed(sign_up: SignUp) -> None:
    person = await sign_up()
    newest = await refreshed(person.client, await refreshed(person.client, person.refresh_token))
    assert await refreshed(person.client, person.refresh_token) != newest


async def test_a_rotated_token_used_late_ends_the_session_for_everyone(
    sign_up: SignUp, database: psycopg.Connection
) -> None:
    person = await sign_up()
    newest = await refreshed(person.client, await refreshed(person.client, person.refresh_token))
    database.execute(
        """update auth.refresh_tokens set updated_at = updated_at - interval '11 seconds'
           where token = %s""",
        (person.refresh_token,),
    )
    for token in (person.refresh_token, newest):
        with pytest.raises(AuthApiError, match="Already Used") as refused:
            await person.client.auth.refresh_session(token)
        assert (refused.value.status, refused.value.code) == (400, "refresh_token_already_used")


async def test_an_unknown_refresh_token_is_refused(client: AsyncClient) -> None:
    with pytest.raises(AuthApiError) as refused:
        await client.auth.refresh_session("unknown")
    assert str(refused.value.code) == "refresh_token_not_found"


@pytest.mark.parametrize(
    ("scope", "mine_lives", "other_lives"),
    [("global", False, False), ("local", False, True), ("others", True, False)],
)
async def test_signing_out_ends_the_sessions_of_its_scope(
    sign_up: SignUp,
    make_client: MakeClient,
    admin: AsyncClient,
    scope: Literal["global", "local", "others"],
    mine_lives: bool,
    other_lives: bool,
) -> None:
    person = await sign_up()
    elsewhere = await make_client()
    signed_in = await elsewhere.auth.sign_in_with_password(
        {"email": person.email, "password": PASSWORD}
    )
    assert signed_in.session is not None
    await admin.auth.admin.sign_out(person.access_token, scope)
    for token, lives in (
        (person.access_token, mine_lives),
        (signed_in.session.access_token, other_lives),
    ):
        if lives:
            await elsewhere.auth.get_user(token)
        else:
            with pytest.raises(AuthApiError) as refused:
                await elsewhere.auth.get_user(token)
            assert (refused.value.status, refused.value.code) == (403, "session_not_found")


async def test_a_new_password_signs_out_everyone_else(
    sign_up: SignUp, make_client: MakeClient
) -> None:
    person, elsewhere = await sign_up(), await make_client()
    await elsewhere.auth.sign_in_with_password({"email": person.email, "password": PASSWORD})

    with pytest.raises(AuthApiError) as refused:
        await person.client.auth.update_user({"password": PASSWORD})
    assert refused.value.code == "same_password"
    await person.client.auth.update_user({"password": "new horse"})

    await person.client.auth.get_user()
    with pytest.raises(AuthApiError):
        await elsewhere.auth.get_user()
    await elsewhere.auth.sign_in_with_password({"email": person.email, "password": "new horse"})


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param({"role": "authenticated", "exp": 1}, id="expired"),
        pytest.param({"role": "authenticated", "exp": 2**33}, id="without sub"),
        pytest.param({"role": "authenticated", "exp": 2**33, "sub": "ada"}, id="sub is no UUID"),
    ],
)
async def test_a_token_that_names_nobody_is_refused(
    client: AsyncClient, info: StackInfo, claims: dict[str, object]
) -> None:
    token = jwt.encode(claims, info.jwt_secret, algorithm="HS256")
    with pytest.raises(AuthApiError) as refused:
        await client.auth.get_user(token)
    assert (refused.value.status, refused.value.code) == (403, "bad_jwt")


@pytest.mark.parametrize("missing", ["exp", "role"])
async def test_a_users_token_needs_an_expiry_and_a_role(
    sign_up: SignUp, info: StackInfo, missing: str
) -> None:
    person = await sign_up()
    claims = jwt.decode(person.access_token, options={"verify_signature": False})
    del claims[missing]
    with pytest.raises(AuthApiError) as refused:
        await person.client.auth.get_user(jwt.encode(claims, info.jwt_secret, algorithm="HS256"))
    assert (refused.value.status, refused.value.code) == (403, "bad_jwt")


async def test_a_token_signed_with_another_secret_is_refused(
    client: AsyncClient, sign_up: SignUp
) -> None:
    person = await sign_up()
    claims = jwt.decode(person.access_token, options={"verify_signature": False})
    for forged in (
        jwt.encode(claims, "another secret of forty characters......", algorithm="HS256"),
        jwt.encode(claims, "", algorithm="none"),
    ):
        with pytest.raises(AuthApiError) as refused:
            await client.auth.get_user(forged)
        assert refused.value.code == "bad_jwt"


async def test_settings_and_health_answer(http: aiohttp.ClientSession, info: StackInfo) -> None:
    headers = {"apikey": info.publishable_key}
    async with http.get(f"{info.api_url}/auth/v1/settings", headers=headers) as answer:
        assert (await answer.json())["external"]["email"] is True
    async with http.get(f"{info.api_url}/auth/v1/health", headers=headers) as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    ("path", "body", "error_code"),
    [
        ("token?grant_type=password", b"{", "bad_json"),
        ("token?grant_type=password", b'{"email": 7}', "validation_failed"),
        ("token?grant_type=refresh_token", b"", "validation_failed"),
        ("token?grant_type=magic", b"{}", "invalid_credentials"),
        ("signup", b"[]", "validation_failed"),
        ("signup", b'{"email": "a@example.com"}', "validation_failed"),
    ],
)
async def test_a_malformed_request_is_answered_in_auths_shape(
    http: aiohttp.ClientSession, info: StackInfo, path: str, body: bytes, error_code: str
) -> None:
    headers = {"apikey": info.publishable_key}
    async with http.post(f"{info.api_url}/auth/v1/{path}", data=body, headers=headers) as answer:
        assert answer.status == 400
        said = await answer.json()
    assert (said["code"], said["error_code"]) == (400, error_code)
    assert said["msg"]


async def test_without_postgres_clients_are_told_to_try_again(
    stack: LocalStack, client: AsyncClient
) -> None:
    stack.stop("postgres")
    try:
        with pytest.raises(AuthRetryableError):
            await client.auth.sign_in_with_password({"email": new_email(), "password": PASSWORD})
    finally:
        stack.start("postgres")


async def refreshed(client: AsyncClient, token: str) -> str:
    answer = await client.auth.refresh_session(token)
    assert answer.session is not None
    return answer.session.refresh_token


def session_of(access_token: str) -> str:
    claims = jwt.decode(access_token, options={"verify_signature": False})
    assert claims["exp"] > time.time()
    return str(claims["session_id"])
