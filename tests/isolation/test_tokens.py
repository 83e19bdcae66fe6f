"""A token that is not what it seems is refused, or has no effect."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from .attackers import CANARY, FLOW, Person, World, claims, sign, with_claims

HOUR = 3600
Forgery = Callable[[World, Person], str]

FORGERIES: dict[str, Forgery] = {
    "another secret": lambda w, p: sign(claims(p.id), "x" * 48),
    "an empty secret": lambda w, p: sign(claims(p.id), ""),
    "the publishable key as secret": lambda w, p: sign(claims(p.id), w.info.publishable_key),
    "the anon key as secret": lambda w, p: sign(claims(p.id), w.info.anon_key),
    "no algorithm": lambda w, p: unsigned(claims(p.id), "none"),
    "no algorithm, in capitals": lambda w, p: unsigned(claims(p.id), "NONE"),
    "no signature": lambda w, p: p.token.rpartition(".")[0] + ".",
    "no third part": lambda w, p: p.token.rpartition(".")[0],
    "our secret as a public key": lambda w, p: sign(claims(p.id), w.info.jwt_secret, alg="RS256"),
    "another algorithm than it was signed with": lambda w, p: sign(
        claims(p.id), w.info.jwt_secret, alg="HS512"
    ),
    "another user under an old signature": lambda w, p: with_claims(w.person().token, sub=p.id),
    "another role under an old signature": lambda w, p: with_claims(p.token, role="service_role"),
    "the service role with another secret": lambda w, p: sign(
        claims(None, role="service_role", aud=None), "x" * 48
    ),
    "the service role without signature": lambda w, p: unsigned(
        claims(None, role="service_role"), "none"
    ),
    "expired": lambda w, p: sign(claims(p.id, exp=int(time.time()) - HOUR), w.info.jwt_secret),
    "not yet valid": lambda w, p: sign(
        claims(p.id, nbf=int(time.time()) + HOUR), w.info.jwt_secret
    ),
    "issued in the future": lambda w, p: sign(
        claims(p.id, iat=int(time.time()) + HOUR), w.info.jwt_secret
    ),
    "another audience": lambda w, p: sign(claims(p.id, aud="other"), w.info.jwt_secret),
    "no token at all": lambda w, p: "eyJ",
}


def unsigned(content: dict[str, Any], algorithm: str) -> str:
    return sign(content, "", alg=algorithm).rpartition(".")[0] + "."


@pytest.mark.parametrize("direct", [False, True], ids=["gateway", "postgrest"])
@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES)
def test_a_forged_token_is_refused(
    world: World, victim: Person, forgery: Forgery, direct: bool
) -> None:
    token = forgery(world, victim)
    answers = [
        world.ask("GET", "/flows", token, direct=direct),
        world.ask("POST", "/rpc/get_queue_status", token, direct=direct, json={}),
        world.ask("POST", "/rpc/list_users", token, direct=direct, json={}),
    ]
    assert [answer.status_code for answer in answers] == [401, 401, 401]
    assert all(CANARY not in answer.text for answer in answers)


def test_a_good_token_would_have_been_answered(world: World, victim: Person) -> None:
    for direct in (False, True):
        assert CANARY in world.ask("GET", "/flows", victim.token, direct=direct).text


@pytest.mark.parametrize("role", ["postgres", "supabase_admin", "authenticator", "nobody"])
def test_a_token_cannot_name_a_role_that_is_none_of_the_apis(
    world: World, victim: Person, role: str
) -> None:
    token = sign(claims(victim.id, role=role), world.info.jwt_secret)
    answer = world.ask("GET", "/flows", token)
    assert answer.status_code in (400, 401, 403)
    assert CANARY not in answer.text


@pytest.mark.parametrize("sub", [None, "00000000-0000-4000-8000-000000000000", "", "' or true --"])
def test_a_token_of_nobody_sees_and_does_nothing(
    world: World, victim: Person, sub: str | None
) -> None:
    token = sign(claims(sub), world.info.jwt_secret)
    seen = world.ask("GET", "/flows", token)
    assert seen.json() == [] if seen.status_code == 200 else seen.status_code == 400
    row = {"user_id": victim.id, "name": "smuggled", "definition": FLOW}
    assert world.ask("POST", "/flows", token, json=row).status_code in (400, 403)
    status, _ = world.call("enqueue_flow_execution", token, flow_id=victim.flow_id)
    assert status in (400, 401, 404)
    status, may = world.call("has_permission", token, permission="users.read")
    assert (status, may) == (200, False) or status == 400
    status, _ = world.call("list_users", token)
    assert status in (400, 401, 403)


# ----------------------------------------------------------- claims that no table confirms

PROMOTED = {
    "user_role": "owner",
    "user_tier": "enterprise",
    "app_metadata": {"role": "owner", "tier": "enterprise", "user_role": "owner"},
    "user_metadata": {"role": "owner", "tier": "enterprise", "user_id": "victim"},
}


def is_a_free_user_still(world: World, token: str, person: Person, victim: Person) -> None:
    """Neither permissions nor quotas are other than those of a user on the free tier."""
    assert world.call("has_permission", token, permission="users.read") == (200, False)
    assert world.call("get_user", token, user_id=victim.id, reason="curious")[0] == 403
    assert world.call("set_user_tier", token, user_id=person.id, tier="enterprise")[0] == 403
    assert world.call("set_user_role", token, user_id=person.id, role="owner")[0] == 403
    assert victim.id not in world.ask("GET", "/user_profiles", token).text
    statuses = [
        world.call("enqueue_flow_execution", token, flow_id=person.flow_id)[0] for _ in range(6)
    ]
    assert statuses == [200] * 5 + [429]


def test_role_and_tier_in_a_token_have_no_effect(
    world: World, attacker: Person, victim: Person
) -> None:
    token = sign(claims(attacker.id, **PROMOTED), world.info.jwt_secret)
    is_a_free_user_still(world, token, attacker, victim)


def test_edited_user_metadata_has_no_effect(world: World, victim: Person) -> None:
    def auth(method: str, path: str, token: str = "", **body: Any) -> dict[str, Any]:
        headers = {"apikey": world.info.publishable_key}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        url = f"{world.info.api_url}/auth/v1{path}"
        answer = world.http.request(method, url, headers=headers, json=body)
        assert answer.status_code == 200, answer.text
        found = answer.json()
        assert isinstance(found, dict)
        return found

    email = f"{time.time_ns()}@example.com"
    signed_up = auth("POST", "/signup", email=email, password="correct horse", data=PROMOTED)
    auth("PUT", "/user", signed_up["access_token"], data={**PROMOTED, "session_id": "other"})
    fresh = auth(
        "POST", "/token?grant_type=refresh_token", refresh_token=signed_up["refresh_token"]
    )
    token, user_id = fresh["access_token"], fresh["user"]["id"]
    assert fresh["user"]["user_metadata"]["user_role"] == "owner"
    row = {"user_id": user_id, "name": "mine", "definition": FLOW}
    made = world.ask("POST", "/flows", token, json=row, headers={"Prefer": "return=representation"})
    assert made.status_code == 201, made.text
    person = Person(user_id, token, made.json()[0]["id"])
    is_a_free_user_still(world, token, person, victim)


def test_a_key_of_another_project_is_refused(world: World) -> None:
    for key in ("sb_secret_" + "x" * 30, "sb_publishable_" + "x" * 30, ""):
        answer = httpx.get(f"{world.info.api_url}/rest/v1/flows", headers={"apikey": key})
        assert answer.status_code == 401
