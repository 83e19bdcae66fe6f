"""Access tokens on demand: read where they are fresh, refreshed once where they are not."""

import asyncio
from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest

from flowstate_local import LocalStack
from flowstate_worker.clients.google_tokens import Access, AccessToken, NoAccess
from flowstate_worker.clients.token_client import TokenClient
from flowstate_worker.clients.token_refresh import Result
from flowstate_worker.rules.sealing import KeyRing, new_key, read_keys
from tests.sql.google import KEYS
from tests.worker.tokens import Person, TokenWorld, token_world


@pytest.fixture
def world(stack: LocalStack) -> Iterator[TokenWorld]:
    with token_world(stack) as made:
        yield made


async def ask(world: TokenWorld, *people: Person, **changes: object) -> list[Access]:
    async with world.tokens(**changes) as tokens:
        answers = await tokens.access([UUID(person.id) for person in people])
    return [answers[UUID(person.id)] for person in people]


def text(access: Access) -> str:
    assert isinstance(access, AccessToken), access
    return access.token.get_secret_value()


async def test_a_fresh_token_is_read_without_asking_google(world: TokenWorld) -> None:
    people = [world.person(expires_in=3599) for _ in range(3)]
    answers = await ask(world, *people)
    assert [text(one) for one in answers] == [person.access_token for person in people]
    assert {world.google_of(person)["refreshes"] for person in people} == {0}


async def test_an_expired_one_is_refreshed_when_it_is_asked_for(world: TokenWorld) -> None:
    person = world.person(expires_in=30)
    [answer] = await ask(world, person)
    known = world.google_of(person)
    assert text(answer) == known["access_tokens"][-1] != person.access_token
    assert known["refreshes"] == 1
    assert world.opened(person) == text(answer)
    assert isinstance(answer, AccessToken)
    assert answer.scopes == ("openid", "https://www.googleapis.com/auth/drive")
    assert text(answer) not in repr(answer)


async def test_whoever_asks_at_the_same_time_gets_the_one_refreshed_token(
    world: TokenWorld,
) -> None:
    person = world.person()
    world.google.fault("hold", ms=300)
    answers = await asyncio.gather(*(ask(world, person) for _ in range(8)))
    assert len({text(one) for [one] in answers}) == 1
    assert world.google_of(person)["refreshes"] == 1


async def test_who_never_connected_and_who_withdrew_are_told_apart(world: TokenWorld) -> None:
    person, nobody = world.person(), Person(str(uuid4()), "", "")
    world.google.withdraw(person.refresh_token)
    assert await ask(world, person, nobody) == [NoAccess("revoked"), NoAccess("not_connected")]
    assert world.row(person)["status"] == "revoked"
    assert await ask(world, person) == [NoAccess("revoked")]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("internal_failure", "google_unavailable"),
        ("page_502", "google_unavailable"),
        ("unavailable_503", "google_unavailable"),
        ("rate_limited", "rate_limited"),
        ("html_200", "unreadable_answer"),
        ("drop", "network"),
    ],
)
async def test_googles_trouble_is_a_failure_that_is_not_repeated_at_once(
    world: TokenWorld, fault: str, reason: str
) -> None:
    person = world.person()
    world.google.fault(fault, retry_after=40)
    assert await ask(world, person) == [NoAccess(reason)]
    assert (world.row(person)["status"], world.row(person)["reason"]) == ("failing", reason)
    [again] = await ask(world, person)
    assert isinstance(again, NoAccess)
    assert again.reason == reason
    assert again.retry_in_seconds is not None
    if fault in ("rate_limited", "unavailable_503"):
        assert 30 < again.retry_in_seconds <= 40
    assert world.google_of(person)["refreshes"] == 0
    world.connections.set(person.id, "retry_at = clock_timestamp()")
    assert isinstance((await ask(world, person))[0], AccessToken)
    assert world.row(person)["status"] == "active"


async def test_a_slow_google_is_given_up_in_time(world: TokenWorld) -> None:
    person = world.person()
    world.google.fault("hold", ms=2000)
    assert await ask(world, person, timeout_seconds=0.1) == [NoAccess("timeout")]


async def test_a_wrong_client_secret_is_nobodys_tokens_fault(world: TokenWorld) -> None:
    people = [world.person() for _ in range(3)]
    answers = await ask(world, *people, client_secret="wrong")
    assert answers == [NoAccess("client_refused")] * 3
    for person in people:
        row = world.row(person)
        assert (row["status"], row["failures"], row["refresh_lease_token"]) == ("active", 0, None)


async def test_a_failing_token_is_of_use_while_it_is_good(world: TokenWorld) -> None:
    person = world.person(expires_in=300)
    world.google.fault("internal_failure")
    async with world.tokens() as tokens:
        user = UUID(person.id)
        assert (await tokens.access([user], valid_seconds=600))[user] == NoAccess(
            "google_unavailable"
        )
        assert text((await tokens.access([user]))[user]) == person.access_token


async def test_nothing_is_refreshed_for_who_is_suspended(world: TokenWorld) -> None:
    person = world.person()
    world.queue.do(
        "update public.user_profiles set suspended_at = now() where user_id = %s", person.id
    )
    assert await ask(world, person) == [NoAccess("not_refreshed")]
    assert world.google_of(person)["refreshes"] == 0


async def test_a_key_that_is_not_here_is_the_reason(world: TokenWorld) -> None:
    fresh, expired = world.person(expires_in=3599), world.person()
    ring = KeyRing(read_keys({"other": new_key()}))
    assert await ask(world, fresh, expired, ring=ring) == [NoAccess("unknown_key")] * 2
    assert world.row(expired)["reason"] == "unknown_key"
    assert world.google_of(expired)["refreshes"] == 0


async def test_an_older_key_opens_and_the_refresh_moves_to_the_new_one(world: TokenWorld) -> None:
    person = world.person()
    new = KeyRing(KEYS, "k2")
    [answer] = await ask(world, person, ring=new)
    assert world.row(person)["key_id"] == "k2"
    assert world.opened(person, KeyRing({"k2": KEYS["k2"]})) == text(answer)


async def test_a_lease_that_nobody_ends_is_waited_for_and_no_longer(world: TokenWorld) -> None:
    person = world.person()
    assert len(world.connections.claim()) == 1
    assert await ask(world, person, wait_seconds=0.1) == [NoAccess("busy")]


async def test_who_disconnects_during_the_refresh_gets_no_token(
    world: TokenWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = world.person()
    finish = TokenClient.finish

    async def leave(self: TokenClient, results: list[dict[str, object]]) -> object:
        world.queue.value("select public.disconnect_google(%s)", person.id)
        return await finish(self, results)

    monkeypatch.setattr(TokenClient, "finish", leave)
    assert await ask(world, person) == [NoAccess("not_connected")]


async def test_every_refresh_is_counted(world: TokenWorld) -> None:
    seen: list[Result] = []
    people = [world.person(), world.person()]
    world.google.withdraw(people[1].refresh_token)
    await ask(world, *people, observe=seen.append)
    assert {(one.outcome, one.reason) for one in seen} == {
        ("refreshed", "ok"),
        ("revoked", "invalid_grant"),
    }
    for one in seen:
        assert "ya29" not in repr(one)
        assert "1//" not in repr(one)
