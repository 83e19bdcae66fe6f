"""Calls to Google: one address, no redirects, bounded in time and size."""

from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import parse_qs
from uuid import uuid4

import pytest
from aiohttp import web

from flowstate_worker.clients.google_oauth import GoogleOAuth
from flowstate_worker.clients.hops import instance_session
from flowstate_worker.clients.token_client import ClaimedToken
from flowstate_worker.clients.token_refresh import CLIENT_REFUSED, TokenRefresh
from flowstate_worker.rules.google_answers import Failed, Refreshed
from flowstate_worker.rules.sealing import Kind
from tests.sql.google import RING

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
TOKEN = "1//0CANARY"


class Server:
    """Answers as it is told, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, list[str]]]] = []
        self.handler: Handler | None = None
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        form = parse_qs(await request.text())
        self.asked.append((request.method, request.path, form))
        assert self.handler is not None
        return await self.handler(request)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()


@pytest.fixture
async def google(server: Server) -> AsyncIterator[GoogleOAuth]:
    async with instance_session(1.0) as session:
        yield GoogleOAuth(
            session,
            token_url=f"{server.url}/o/token",
            timeout_seconds=0.5,
            client_id="the-id",
            client_secret="the-secret",
        )


def answers(response: Callable[[], web.StreamResponse]) -> Handler:
    async def handler(_request: web.Request) -> web.StreamResponse:
        return response()

    return handler


async def test_a_refresh_is_a_form_to_the_one_address(server: Server, google: GoogleOAuth) -> None:
    fields = {"access_token": "ya29.x", "expires_in": 3599, "token_type": "Bearer"}
    server.handler = answers(lambda: web.json_response(fields))
    verdict, seconds = await google.refresh(TOKEN)
    assert isinstance(verdict, Refreshed)
    assert seconds > 0
    assert server.asked == [
        (
            "POST",
            "/o/token",
            {
                "client_id": ["the-id"],
                "client_secret": ["the-secret"],
                "grant_type": ["refresh_token"],
                "refresh_token": [TOKEN],
            },
        )
    ]


async def test_the_end_of_a_grant_needs_no_secret(server: Server, google: GoogleOAuth) -> None:
    server.handler = answers(lambda: web.json_response({}))
    assert await google.revoke(TOKEN) is None
    assert server.asked == [("POST", "/o/revoke", {"token": [TOKEN]})]


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (400, '{"error": "invalid_token"}', None),
        (400, '{"error": "invalid_request"}', "refused"),
        (404, "<html>", "refused"),
        (429, "", "google_unavailable"),
        (503, "", "google_unavailable"),
    ],
)
async def test_whether_a_grant_is_over_is_told(
    server: Server, google: GoogleOAuth, status: int, body: str, reason: str | None
) -> None:
    server.handler = answers(lambda: web.Response(status=status, text=body))
    assert await google.revoke(TOKEN) == reason


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_token_is_never_carried_elsewhere(
    server: Server, google: GoogleOAuth, status: int
) -> None:
    elsewhere = {"Location": f"{server.url}/elsewhere"}
    server.handler = answers(lambda: web.Response(status=status, headers=elsewhere))
    assert (await google.refresh(TOKEN))[0] == Failed("refused")
    assert await google.revoke(TOKEN) == "refused"
    assert [path for _, path, _ in server.asked] == ["/o/token", "/o/revoke"]


async def test_an_answer_without_end_is_dropped(server: Server, google: GoogleOAuth) -> None:
    server.handler = answers(lambda: web.Response(text="x" * 100_000))
    assert (await google.refresh(TOKEN))[0] == Failed("unreadable_answer")


async def test_a_wait_that_google_asks_for_is_read(server: Server, google: GoogleOAuth) -> None:
    server.handler = answers(lambda: web.Response(status=503, headers={"Retry-After": "7"}))
    assert (await google.refresh(TOKEN))[0] == Failed("google_unavailable", 7.0)


async def test_who_does_not_answer_is_a_failure_and_no_error(google: GoogleOAuth) -> None:
    async with instance_session(1.0) as session:
        nobody = GoogleOAuth(session, token_url="http://127.0.0.1:9/token", timeout_seconds=0.5)
        assert (await nobody.refresh(TOKEN))[0] == Failed("network")
        assert await nobody.revoke(TOKEN) == "network"


async def test_once_our_client_is_refused_the_rest_is_given_back_unasked(
    server: Server, google: GoogleOAuth
) -> None:
    refusal = {"error": "invalid_client"}
    server.handler = answers(lambda: web.json_response(refusal, status=401))
    users = [uuid4() for _ in range(5)]
    claimed = [
        ClaimedToken(
            user_id=user,
            key_id="k1",
            sealed_refresh_token=RING.seal(TOKEN, user, Kind.REFRESH),
            lease_token=uuid4(),
        )
        for user in users
    ]
    results = await TokenRefresh(RING, google, at_once=1).run(claimed)
    assert [result.claimed.user_id for result in results] == users
    assert {(result.outcome, result.reason) for result in results} == {("released", CLIENT_REFUSED)}
    assert len(server.asked) == 1
