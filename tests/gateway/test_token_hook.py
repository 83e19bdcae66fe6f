"""The custom access token hook, with functions that a test makes: who is asked what, and when."""

from collections.abc import AsyncIterator, Awaitable, Callable

import jwt
import psycopg
import pytest
from aiohttp import web
from supabase import AsyncClient
from supabase_auth.errors import AuthApiError

from flowstate_local import LocalStack, ports
from flowstate_local.gateway.app import build
from flowstate_local.gateway.auth.hooks import REQUIRED
from flowstate_local.gateway.config import HOST, GatewayConfig

from .conftest import PASSWORD, MakeClient, new_email

URI = "pg-functions://postgres/public/test_hook"
FAILED = f"Error running hook URI: {URI}"
AGREES = "return jsonb_build_object('claims', event -> 'claims');"

Hook = Callable[[str], None]
NewClient = Callable[[], Awaitable[AsyncClient]]


@pytest.fixture
def hook(database: psycopg.Connection) -> Hook:
    """Makes a body the hook of the gateway that `client` speaks to."""

    def make(body: str) -> None:
        database.execute("drop function if exists public.test_hook(jsonb)")
        database.execute(
            f"""create function public.test_hook(event jsonb) returns jsonb
                language plpgsql as $$ begin {body} end $$""".encode()
        )
        database.execute("revoke execute on function public.test_hook(jsonb) from public")
        database.execute("grant execute on function public.test_hook(jsonb) to supabase_auth_admin")

    return make


@pytest.fixture
async def new_client(stack: LocalStack, make_client: MakeClient) -> AsyncIterator[NewClient]:
    """Makes clients of a second gateway before the same stack, which calls the test's hook."""
    port = ports.choose("api_port", taken=frozenset(stack.info.ports.values()))
    config = GatewayConfig.load(stack.directory / "gateway.json").model_copy(
        update={"port": port, "access_token_hook": URI}
    )
    runner = web.AppRunner(build(config), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, HOST, port).start()
    yield lambda: make_client(url=f"http://{HOST}:{port}")
    await runner.cleanup()


@pytest.fixture
async def client(new_client: NewClient) -> AsyncClient:
    return await new_client()


async def sign_up(client: AsyncClient, email: str | None = None) -> dict[str, object]:
    """Sign up, and give the token's claims."""
    answer = await client.auth.sign_up({"email": email or new_email(), "password": PASSWORD})
    assert answer.session is not None
    return claims_of(answer.session.access_token)


def claims_of(token: str) -> dict[str, object]:
    return dict(jwt.decode(token, options={"verify_signature": False}))


async def test_the_hooks_claims_are_the_tokens(client: AsyncClient, hook: Hook) -> None:
    hook("return jsonb_set(event #- '{claims,amr}', '{claims,user_tier}', '\"pro\"');")
    claims = await sign_up(client)
    assert claims["user_tier"] == "pro"
    assert "amr" not in claims
    assert claims["role"] == "authenticated"


async def test_every_token_is_shown_to_the_hook_in_the_transaction_of_its_session(
    client: AsyncClient, hook: Hook, database: psycopg.Connection
) -> None:
    database.execute("create table public.asked (id serial, event jsonb, role text, same bool)")
    database.execute("grant insert on public.asked to supabase_auth_admin")
    database.execute("grant usage on public.asked_id_seq to supabase_auth_admin")
    hook(
        """insert into public.asked (event, role, same)
           select event, current_user || ' as ' || session_user,
               -- the last to write the session was this transaction
               s.xmin = pg_current_xact_id()::xid
           from auth.sessions s where s.id = (event #>> '{claims,session_id}')::uuid;
           return event;"""
    )
    try:
        email = new_email()
        signed_up = await sign_up(client, email)
        await client.auth.refresh_session()
        signed_in = await client.auth.sign_in_with_password({"email": email, "password": PASSWORD})
        assert signed_in.session is not None
        token = signed_in.session.refresh_token
        await client.auth.refresh_session(token)
        # The answer was lost: the same token again.
        again = await client.auth.refresh_session(token)
        asked = database.execute(
            "select event, role, same from public.asked order by id"
        ).fetchall()
    finally:
        database.execute("drop table public.asked")
    methods = [event["authentication_method"] for event, _, _ in asked]
    assert methods == ["password", "token_refresh", "password", "token_refresh", "token_refresh"]
    assert {role for _, role, _ in asked} == {"supabase_auth_admin as supabase_auth_admin"}
    assert all(
        same for (_, _, same), method in zip(asked, methods, strict=True) if method == "password"
    )
    assert set(asked[0][0]) == {"user_id", "claims", "authentication_method"}
    assert asked[0][0]["user_id"] == signed_up["sub"]
    assert asked[0][0]["claims"] == signed_up
    assert again.session is not None
    assert asked[-1][0]["claims"] == claims_of(again.session.access_token)


async def test_a_hooks_refusal_is_answered_with_its_code_and_message(
    client: AsyncClient, hook: Hook, database: psycopg.Connection
) -> None:
    hook("""return '{"error": {"http_code": 403, "message": "not today"}}';""")
    email = new_email()
    with pytest.raises(AuthApiError, match="not today") as refused:
        await sign_up(client, email)
    assert (refused.value.status, refused.value.code) == (403, "unknown")
    # As hosted: the user is there, and no session.
    assert sessions(database, email) == (1, 0, 0)
    with pytest.raises(AuthApiError, match="not today"):
        await client.auth.sign_in_with_password({"email": email, "password": PASSWORD})
    assert sessions(database, email) == (1, 0, 0)
    hook(AGREES)
    await client.auth.sign_in_with_password({"email": email, "password": PASSWORD})


async def test_a_refusal_without_a_code_is_a_500(client: AsyncClient, hook: Hook) -> None:
    hook("""return '{"error": {"message": "not today"}}';""")
    with pytest.raises(AuthApiError, match="not today") as refused:
        await sign_up(client)
    assert (refused.value.status, refused.value.code) == (500, "unexpected_failure")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param("raise exception 'canary-11';", FAILED, id="raises"),
        pytest.param("raise sqlstate 'PT403' using message = 'no';", FAILED, id="raises PT403"),
        pytest.param("perform pg_sleep(600);", FAILED, id="takes too long"),
        pytest.param("perform count(*) from public.notes;", FAILED, id="may not read that"),
        pytest.param("return null;", "output claims field is missing", id="null"),
        pytest.param("return '{}';", "output claims field is missing", id="empty"),
        pytest.param("return '[1]';", "output claims field is missing", id="no object"),
        pytest.param("return event -> 'claims';", "output claims field is missing", id="bare"),
        pytest.param("return '{\"claims\": []}';", "do not conform", id="claims no object"),
        pytest.param("return '{\"claims\": null}';", "do not conform", id="claims null"),
        pytest.param(
            'return \'{"error": {"http_code": 9, "message": "x"}}\';', FAILED, id="code 9"
        ),
        pytest.param(
            'return \'{"error": {"http_code": "403", "message": "x"}}\';', FAILED, id="code is text"
        ),
    ],
)
async def test_a_hook_that_fails_or_answers_nonsense_lets_nobody_in(
    client: AsyncClient,
    hook: Hook,
    database: psycopg.Connection,
    caplog: pytest.LogCaptureFixture,
    body: str,
    message: str,
) -> None:
    hook(AGREES)
    email = new_email()
    await sign_up(client, email)
    before = sessions(database, email)
    hook(body)
    for attempt in (
        client.auth.sign_in_with_password({"email": email, "password": PASSWORD}),
        client.auth.refresh_session(),
    ):
        with pytest.raises(AuthApiError, match=message) as refused:
            await attempt
        assert (refused.value.status, refused.value.code) == (500, "unexpected_failure")
        assert sessions(database, email) == before
    assert "canary" not in caplog.text
    # The refused refresh used nothing up.
    hook(AGREES)
    await client.auth.refresh_session()


@pytest.mark.parametrize("name", REQUIRED)
@pytest.mark.parametrize("change", ["is taken out", "has another type"])
async def test_a_claim_that_every_token_needs_cannot_be_changed_away(
    client: AsyncClient, hook: Hook, name: str, change: str
) -> None:
    if change == "is taken out":
        hook(f"return event #- '{{claims,{name}}}';")
        expected = rf"\(root\): {name} is required"
    else:
        hook(f"return jsonb_set(event, '{{claims,{name}}}', '{{}}');")
        expected = f"{name}: Invalid type"
    with pytest.raises(AuthApiError, match=expected) as refused:
        await sign_up(client)
    assert (refused.value.status, refused.value.code) == (500, "unexpected_failure")


async def test_a_hook_that_auth_may_not_call_lets_nobody_in(
    client: AsyncClient, hook: Hook, database: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    hook(AGREES)
    database.execute("revoke execute on function public.test_hook(jsonb) from supabase_auth_admin")
    with pytest.raises(AuthApiError, match=FAILED):
        await sign_up(client)
    assert f"{URI} failed: 42501" in caplog.text
    database.execute("drop function public.test_hook(jsonb)")
    with pytest.raises(AuthApiError, match=FAILED):
        await sign_up(client)
    assert f"{URI} failed: 42883" in caplog.text


def sessions(database: psycopg.Connection, email: str) -> tuple[int, int, int]:
    """How many users, sessions and refresh tokens there are for an address."""
    row = database.execute(
        """select count(distinct u.id), count(distinct s.id), count(distinct t.id)
           from auth.users u left join auth.sessions s on s.user_id = u.id
           left join auth.refresh_tokens t on t.session_id = s.id where u.email = %s""",
        (email,),
    ).fetchone()
    assert row is not None
    return (row[0], row[1], row[2])
