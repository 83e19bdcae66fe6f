"""What PostgREST lets a caller ask for: partitions, filters, counts, embedding, writes in bulk."""

from __future__ import annotations

from itertools import permutations

import httpx
import pytest

from .attackers import CANARY, FLOW, Person, World

REPRESENTATION = {"Prefer": "return=representation"}


@pytest.fixture(scope="module")
def attacker(world: World) -> Person:
    """One for all requests: none of them may change anything."""
    return world.person()


def names(world: World, query: str) -> list[str]:
    found = [str(name) for (name,) in world.database.execute(query.encode())]
    assert found
    return found


def readable(world: World) -> list[str]:
    """Relations in which users read their own rows, and nobody reads another's."""
    rules = {**world.rules.tables, **world.rules.views}
    return [name for name, rule in rules.items() if rule.own and not rule.other]


def leaks(answer: httpx.Response, victim: Person) -> bool:
    return CANARY in answer.text or victim.id in answer.text


def state_of(world: World, victim: Person) -> list[object]:
    """Every row of the victim, and how many rows there are of anybody."""
    state: list[object] = []
    for name in readable(world):
        query = (
            f"select md5(coalesce(string_agg(t::text, ' ' order by t::text), '')), count(*)"
            f" from public.{name} t where user_id = %s"
        )
        state += world.database.execute(query.encode(), (victim.id,)).fetchall()
    return state


# -------------------------------------------------------------------- what is not exposed at all


def test_partitions_are_not_served(world: World, victim: Person) -> None:
    partitions = names(
        world, "select relname from pg_class where relnamespace = 'partitions'::regnamespace"
    )
    for direct in (False, True):
        for partition in partitions[::7]:
            path = f"/{partition}"
            assert world.ask("GET", path, victim.token, direct=direct).status_code == 404
            for schema in ("partitions", "private", "auth", "realtime", "pg_catalog", "_realtime"):
                answer = world.ask(
                    "GET", path, victim.token, direct=direct, headers={"Accept-Profile": schema}
                )
                assert answer.status_code == 406


@pytest.mark.parametrize("schema", ["partitions", "private", "auth"])
def test_functions_and_rows_of_closed_schemas_are_not_served(
    world: World, attacker: Person, schema: str
) -> None:
    for path in ("/rpc/settle_executions", "/rpc/record_activity", "/user_queue"):
        answer = world.ask(
            "POST", path, attacker.token, json={}, headers={"Content-Profile": schema}
        )
        assert answer.status_code == 406
    assert world.call("record_activity", attacker.token)[0] == 404


def test_the_api_does_not_describe_what_a_caller_may_not_touch(
    world: World, attacker: Person
) -> None:
    described = world.ask("GET", "/", attacker.token).json()["paths"]
    assert "/flow_executions" in described
    assert {"/rpc/claim_flow_executions", "/apps_script_instances", "/user_queue"}.isdisjoint(
        described
    )


def test_query_plans_are_not_shown(world: World, attacker: Person) -> None:
    accept = {"Accept": "application/vnd.pgrst.plan+json"}
    assert world.ask("GET", "/flows", attacker.token, headers=accept).status_code in (406, 415)


# --------------------------------------------------------------------------- filters, order, counts


def test_no_filter_shows_another_users_rows(world: World, attacker: Person, victim: Person) -> None:
    filters = (
        "select=*",
        f"user_id=eq.{victim.id}",
        f"user_id=neq.{attacker.id}",
        f"user_id=in.({attacker.id},{victim.id})",
        f"or=(user_id.eq.{victim.id},user_id.neq.{attacker.id})",
        f"or=(user_id.is.null,not.and(user_id.eq.{attacker.id},user_id.is.null))",
        f"not.or=(user_id.eq.{attacker.id})",
        f"user_id=not.eq.{attacker.id}&limit=1000",
        "user_id=gt.00000000-0000-0000-0000-000000000000&order=user_id.desc&limit=1000",
        "select=user_id::text&user_id=not.is.null",
        f"select=x:user_id&user_id=eq.{victim.id}",
    )
    for name in readable(world):
        for query in filters:
            for role in (attacker.token, world.info.anon_key):
                answer = world.ask("GET", f"/{name}?{query}", role)
                assert answer.status_code in (200, 400, 401), f"{name} {query}: {answer.text}"
                assert not leaks(answer, victim), f"{name} {query}"


def test_order_by_any_column_shows_nothing_of_others(
    world: World, attacker: Person, victim: Person
) -> None:
    for name in readable(world):
        for column in names(
            world,
            f"select attname from pg_attribute where attrelid = 'public.{name}'::regclass"
            " and attnum > 0 and not attisdropped",
        ):
            answer = world.ask("GET", f"/{name}?order={column}.desc&limit=1000", attacker.token)
            assert answer.status_code in (200, 400), answer.text
            assert not leaks(answer, victim)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_counts_are_of_ones_own_rows(
    world: World, attacker: Person, victim: Person, method: str
) -> None:
    for name in readable(world):
        query = f"select count(*) from public.{name} where user_id = %s"
        own = world.database.execute(query.encode(), (attacker.id,)).fetchone()
        assert own
        exact = {"Prefer": "count=exact"}
        answer = world.ask(method, f"/{name}?select=*", attacker.token, headers=exact)
        assert answer.headers["content-range"].rpartition("/")[2] == str(own[0]), name
        others = world.ask(method, f"/{name}?user_id=eq.{victim.id}", attacker.token, headers=exact)
        assert others.headers["content-range"].rpartition("/")[2] == "0", name


def test_embedding_shows_nothing_of_others(world: World, attacker: Person, victim: Person) -> None:
    tables = names(
        world,
        "select relname from pg_class where relkind in ('r', 'p', 'v')"
        " and relnamespace = 'public'::regnamespace",
    )
    answered = 0
    for outer, inner in permutations(tables, 2):
        for query in (f"select=*,{inner}(*)", f"select=*,{inner}!inner(*)&{inner}.user_id=neq.x"):
            answer = world.ask("GET", f"/{outer}?{query}", attacker.token)
            assert answer.status_code < 500, answer.text
            assert not leaks(answer, victim), f"{outer} {query}"
            answered += answer.status_code == 200
    assert answered > 10


def test_a_victim_does_see_what_others_were_asked_for(world: World, victim: Person) -> None:
    answer = world.ask(
        "GET", "/flows?select=*,flow_versions(*),flow_execution_queue(*)", victim.token
    )
    assert answer.status_code == 200, answer.text
    [flow] = [row for row in answer.json() if row["id"] == victim.flow_id]
    assert CANARY in str(flow["definition"])
    assert CANARY in str(flow["flow_versions"])
    assert any(row["flow_execution_queue"] for row in answer.json())


# ------------------------------------------------------------------------------------------- writes


def test_writes_in_bulk_touch_ones_own_rows_only(world: World, victim: Person) -> None:
    attacker = world.person()
    before = state_of(world, victim)
    writes: list[tuple[str, str, object]] = [
        ("PATCH", "/flows", {"is_enabled": False}),
        ("PATCH", f"/flows?user_id=eq.{victim.id}", {"name": "taken"}),
        ("PATCH", f"/flows?id=eq.{victim.flow_id}", {"name": "taken"}),
        ("PATCH", f"/flows?or=(user_id.neq.{attacker.id})", {"is_enabled": False}),
        ("DELETE", "/flow_schedules", None),
        ("DELETE", f"/flows?user_id=neq.{attacker.id}", None),
        ("DELETE", f"/flows?id=eq.{victim.flow_id}", None),
        ("DELETE", "/flows", None),
    ]
    for method, path, body in writes:
        answer = world.ask(method, path, attacker.token, json=body, headers=REPRESENTATION)
        assert answer.status_code in (200, 204), f"{path}: {answer.text}"
        assert not leaks(answer, victim)
        assert all(row["user_id"] == attacker.id for row in answer.json() or [])
    assert state_of(world, victim) == before


def test_nothing_can_be_put_into_or_taken_from_another_users_things(
    world: World, attacker: Person, victim: Person
) -> None:
    before = state_of(world, victim)
    flow = {"user_id": victim.id, "name": "smuggled", "definition": FLOW}
    own = {**flow, "user_id": attacker.id}
    merge = {"Prefer": "resolution=merge-duplicates"}
    refused = [
        world.ask("POST", "/flows", attacker.token, json=flow),
        world.ask("POST", "/flows", attacker.token, json=[own, flow]),
        world.ask("POST", "/flows", attacker.token, json={**own, "id": victim.flow_id}),
        world.ask("POST", "/flows", attacker.token, json={**own, "version": 7}),
        world.ask("POST", "/flows?on_conflict=user_id,name", attacker.token,
                  json=flow, headers=merge),
        world.ask("PUT", f"/flows?id=eq.{victim.flow_id}", attacker.token,
                  json={**own, "id": victim.flow_id}),
        world.ask("PATCH", f"/flows?user_id=eq.{attacker.id}", attacker.token,
                  json={"user_id": victim.id}),
        world.ask("POST", "/flow_schedules", attacker.token,
                  json={"user_id": attacker.id, "flow_id": victim.flow_id, "kind": "once"}),
        world.ask("PATCH", f"/user_profiles?user_id=eq.{attacker.id}", attacker.token,
                  json={"role": "owner", "tier": "enterprise"}),
        world.ask("POST", "/user_profiles", attacker.token,
                  json={"user_id": attacker.id, "role": "owner"}, headers=merge),
        world.ask("PATCH", "/subscription_tiers", attacker.token, json={"hour_limit": 1000000}),
        world.ask("DELETE", "/rate_limit_tracking", attacker.token),
        world.ask("POST", "/role_permissions", attacker.token,
                  json={"role": "user", "permission": "users.read"}),
    ]  # fmt: skip
    assert [answer.status_code for answer in refused] == [403] * len(refused)
    assert state_of(world, victim) == before


def test_another_users_ids_are_answered_like_ids_of_nothing(
    world: World, attacker: Person, victim: Person
) -> None:
    execution = world.database.execute(
        "select id from public.flow_execution_queue where user_id = %s", (victim.id,)
    ).fetchone()
    assert execution
    nothing = "00000000-0000-4000-8000-000000000000"
    for function, argument, theirs in (
        ("enqueue_flow_execution", "flow_id", victim.flow_id),
        ("cancel_flow_execution", "execution_id", str(execution[0])),
        ("get_flow_execution_status", "execution_id", str(execution[0])),
    ):
        of_victim = world.call(function, attacker.token, {argument: theirs})
        of_nobody = world.call(function, attacker.token, {argument: nothing})
        assert of_victim[0] == of_nobody[0] == 404
        assert str(of_victim[1]).replace(theirs, "") == str(of_nobody[1]).replace(nothing, "")
