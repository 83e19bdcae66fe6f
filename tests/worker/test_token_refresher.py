"""The loop that refreshes ahead, in whole workers, against the real queue and Google's double."""

import asyncio
import time
from collections.abc import Iterator
from functools import partial
from typing import Any
from uuid import UUID

import aiohttp
import jwt
import pytest

from flowstate_local import LocalStack
from flowstate_worker.clients.rpc import Rpc
from flowstate_worker.clients.token_client import FinishedToken, TokenClient
from flowstate_worker.errors import ApiUnreachable, SettingsInvalid
from flowstate_worker.rules.sealing import KeyRing, Kind, new_key, read_keys
from flowstate_worker.signals import Moment
from flowstate_worker.worker import Worker
from tests.gateway.phoenix import phoenix
from tests.sql.google import KEY_TEXTS, KEYS, RING
from tests.worker.tokens import Person, TokenWorld, token_world
from tests.worker.waiting import until
from tests.worker.whole import running_worker, settings_for


@pytest.fixture
def world(stack: LocalStack) -> Iterator[TokenWorld]:
    with token_world(stack) as made:
        yield made


def has_failed(world: TokenWorld, person: Person, times: int) -> bool:
    return bool(world.row(person)["failures"] == times)


def has_status(world: TokenWorld, person: Person, status: str) -> Any:
    return lambda: world.row(person)["status"] == status


async def test_a_token_is_refreshed_before_it_expires(world: TokenWorld) -> None:
    soon, later = world.person(expires_in=300), world.person(expires_in=900)
    async with running_worker(world.stack, **world.settings()) as worker:
        await until(lambda: world.row(soon)["version"] == 2)
        await worker.signals.reached(Moment.TOKENS_REFRESHED, 3)
        base = f"http://127.0.0.1:{worker.status_port}"
        async with aiohttp.ClientSession() as http:
            async with http.get(f"{base}/metrics") as response:
                text = await response.text()
            async with http.get(f"{base}/healthz") as response:
                assert (await response.json())["checks"]["token_refresher"] is True
    assert 'flowstate_worker_token_refreshes_total{outcome="refreshed",reason="ok"} 1.0' in text
    known = world.google_of(soon)
    assert world.opened(soon) == known["access_tokens"][-1]
    assert known["refreshes"] == 1
    assert world.google_of(later)["refreshes"] == 0


async def test_workers_side_by_side_refresh_each_token_once(world: TokenWorld) -> None:
    people = [world.person() for _ in range(30)]
    quick = world.settings(token_refresh_batch=4, token_refresh_at_once=4)
    async with (
        running_worker(world.stack, **quick),
        running_worker(world.stack, **quick),
        running_worker(world.stack, **quick),
    ):
        await until(lambda: all(world.row(person)["version"] == 2 for person in people))
    assert [world.google_of(person)["refreshes"] for person in people] == [1] * 30


async def test_no_more_than_so_many_are_asked_for_at_once(world: TokenWorld) -> None:
    people = [world.person() for _ in range(12)]
    world.google.fault("hold", count=12, ms=50)
    settings = world.settings(token_refresh_batch=12, token_refresh_at_once=3)
    async with running_worker(world.stack, **settings):
        await until(lambda: all(world.row(person)["version"] == 2 for person in people))
    assert world.google.summary()["in_flight_max"][world.client.id] == 3


async def test_a_failure_is_tried_again_and_heals(world: TokenWorld) -> None:
    person = world.person()
    world.google.fault("internal_failure", count=2)
    async with running_worker(world.stack, **world.settings()):
        for failures in (1, 2):
            await until(partial(has_failed, world, person, failures))
            world.connections.set(
                person.id, "retry_at = clock_timestamp(), next_refresh_at = clock_timestamp()"
            )
        await until(has_status(world, person, "active"))
    assert world.row(person)["failures"] == 0
    assert world.opened(person) == world.google_of(person)["access_tokens"][-1]


async def test_a_wrong_client_secret_blames_no_token(world: TokenWorld) -> None:
    people = [world.person() for _ in range(5)]
    settings = world.settings(google_client_secret="wrong")
    async with running_worker(world.stack, **settings) as worker:
        await worker.signals.reached(Moment.TOKENS_REFRESHED, 2)
    for person in people:
        row = world.row(person)
        assert (row["status"], row["failures"]) == ("active", 0)
    text = worker.metrics.text().decode()
    assert 'token_refreshes_total{outcome="released",reason="client_refused"}' in text
    assert 'outcome="failed"' not in text


async def test_an_answer_that_got_lost_is_asked_for_again_and_changes_nothing(
    world: TokenWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = world.person()
    finish = TokenClient.finish
    calls = 0

    async def lose(self: TokenClient, results: list[dict[str, Any]]) -> list[FinishedToken]:
        nonlocal calls
        calls += 1
        answers = await finish(self, results)
        if calls == 1:
            raise ApiUnreachable("lost")
        return answers

    monkeypatch.setattr(TokenClient, "finish", lose)
    async with running_worker(world.stack, **world.settings()) as worker:
        await worker.signals.reached(Moment.TOKENS_REFRESHED, 2)
    assert calls == 2
    assert world.row(person)["version"] == 2
    assert world.google_of(person)["refreshes"] == 1


async def test_a_refresh_moves_a_token_to_the_key_that_seals_now(world: TokenWorld) -> None:
    person = world.person()
    async with running_worker(world.stack, **world.settings(token_key_id="k2")):
        await until(lambda: world.row(person)["key_id"] == "k2")
    assert world.opened(person, KeyRing({"k2": KEYS["k2"]}))


async def test_a_token_of_a_key_that_is_lost_is_set_aside_with_its_reason(
    world: TokenWorld,
) -> None:
    lost = KeyRing(read_keys({"lost": new_key()}))
    person, other = world.person(ring=lost), world.person()
    async with running_worker(world.stack, **world.settings()):
        await until(has_status(world, person, "failing"))
        await until(lambda: world.row(other)["version"] == 2)
    assert world.row(person)["reason"] == "unknown_key"


async def asked(world: TokenWorld, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> set[str]:
    """The functions that an idle worker calls in some rounds."""
    names: set[str] = set()
    call = Rpc.call

    async def noted(self: Rpc, name: str, params: dict[str, Any]) -> Any:
        names.add(name)
        return await call(self, name, params)

    monkeypatch.setattr(Rpc, "call", noted)
    async with running_worker(world.stack, realtime=False, **settings) as worker:
        await worker.signals.reached(Moment.POLLED, 5)
        if settings:
            await worker.signals.reached(Moment.TOKENS_REFRESHED, 1)
    return names


async def test_a_worker_without_the_settings_asks_nothing_about_tokens(
    world: TokenWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.person()
    without = await asked(world, monkeypatch)
    assert {name for name in without if "token" in name} == set()
    settings = world.settings()
    settings.pop("realtime")
    with_them = await asked(world, monkeypatch, **settings)
    assert {name for name in with_them if "token" in name} == {
        "claim_google_token_refreshes",
        "finish_google_token_refreshes",
    }


# -- Vault -----------------------------------------------------------------------------------


@pytest.fixture
def vault(world: TokenWorld) -> Iterator[TokenWorld]:
    """What Vault shows, as its extension defines it: this server cannot have the extension."""
    world.queue.do("create schema vault")
    world.queue.do(
        "create table vault.decrypted_secrets (name text, decrypted_secret text)",
    )
    yield world
    world.queue.do("drop schema vault cascade")


async def test_vaults_keys_are_used_where_the_environment_has_none(vault: TokenWorld) -> None:
    vault.queue.do(
        "insert into vault.decrypted_secrets values ('flowstate_token_key_k1', %s)",
        KEY_TEXTS["k1"],
    )
    person = vault.person()
    settings = vault.settings(token_keys={}, token_key_id=None)
    async with running_worker(vault.stack, **settings):
        await until(lambda: vault.row(person)["version"] == 2)
    assert vault.opened(person) == vault.google_of(person)["access_tokens"][-1]


@pytest.mark.parametrize("held", [None, "CANARY"])
async def test_without_a_usable_key_the_worker_ends_before_it_claims(
    vault: TokenWorld, held: str | None
) -> None:
    if held:
        vault.queue.do(
            "insert into vault.decrypted_secrets values ('flowstate_token_key_k1', %s)", held
        )
    settings = vault.settings(token_keys={}, token_key_id=None)
    worker = Worker(settings_for(vault.stack, **settings))
    with pytest.raises(SettingsInvalid) as refused:
        await asyncio.wait_for(worker.run(), 20)
    assert ("the key 'k1'" if held else "FLOWSTATE_TOKEN_KEYS") in str(refused.value)
    assert "CANARY" not in str(refused.value)
    assert worker.signals.count(Moment.POLLED) == 0


# -- withdrawn -------------------------------------------------------------------------------


async def test_a_withdrawn_consent_reaches_the_user(world: TokenWorld) -> None:
    info = world.stack.info
    person = world.person()
    world.google.withdraw(person.refresh_token)
    async with aiohttp.ClientSession() as http, phoenix(http, info, "1.0.0") as socket:
        token = access_token(world, person)
        joined = await socket.join(f"user:{person.id}", private=True, token=token)
        assert joined["status"] == "ok"
        async with running_worker(world.stack, **world.settings()):
            heard = await socket.receive()
        assert (heard["topic"], heard["event"]) == (f"realtime:user:{person.id}", "broadcast")
        assert heard["payload"]["event"] == "google_connection"
        assert heard["payload"]["payload"]["status"] == "revoked"

        headers = {"apikey": info.publishable_key, "Authorization": f"Bearer {token}"}
        url = f"{info.api_url}/rest/v1/rpc/get_my_google_connection"
        async with http.post(url, headers=headers, json={}) as response:
            found = await response.json()
        assert found["status"] == "revoked"
        assert found["advice"].startswith("Google no longer accepts this connection. Connect")
    row = world.row(person)
    assert (row["sealed_refresh_token"], row["sealed_access_token"]) == (None, None)
    [trail] = world.queue.rows(
        "select actor, details from public.user_activity_logs"
        " where user_id = %s and action = 'google.revoked'",
        person.id,
    )
    assert trail["details"] == {"category": "invalid_grant"}
    assert trail["actor"].startswith("service")


def access_token(world: TokenWorld, person: Person) -> str:
    """A session of this person, as Auth would sign it."""
    claims = {"role": "authenticated", "aud": "authenticated", "sub": person.id}
    return jwt.encode({**claims, "exp": int(time.time()) + 300}, world.stack.info.jwt_secret)


async def test_a_new_refresh_token_of_googles_takes_the_old_ones_place(
    world: TokenWorld,
) -> None:
    person = world.person()
    world.google.fault("rotate", refresh_token=person.refresh_token)
    async with running_worker(world.stack, **world.settings()):
        await until(lambda: world.row(person)["version"] == 2)
    sealed = world.row(person)["sealed_refresh_token"]
    opened = RING.open(sealed, UUID(person.id), Kind.REFRESH, "k1")
    assert opened != person.refresh_token
    assert world.google.refresh(world.client, opened).status_code == 200
