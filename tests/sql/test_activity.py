"""The trail: what is recorded by itself, and that its chain shows every change."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from tests.sql.driver import QueueDriver, Row


@pytest.fixture
def trail(queue: QueueDriver) -> QueueDriver:
    """An empty trail with a chain that begins anew."""
    queue.do("truncate public.user_activity_logs")
    queue.do("delete from private.activity_chain")
    queue.do("insert into private.activity_chain default values")
    return queue


def record(trail: QueueDriver, count: int = 1, user_id: str | None = None) -> None:
    for number in range(count):
        trail.do(
            "select private.record_activity('test.event', %s, 'thing', %s, %s)",
            user_id,
            str(number),
            json.dumps({"number": number}),
        )


def verify(trail: QueueDriver, after: int | None = None, most: int = 1000) -> Row:
    answer = trail.value("select public.verify_activity(%s, %s)", after, most)
    assert isinstance(answer, dict)
    return answer


def entries(trail: QueueDriver, action: str) -> list[Row]:
    return trail.rows(
        "select * from public.user_activity_logs where action = %s order by occurred_at", action
    )


def test_a_changed_tier_is_recorded_with_before_and_after(trail: QueueDriver) -> None:
    with trail.connection.transaction(force_rollback=True):
        trail.do("update public.subscription_tiers set hour_limit = 7 where tier = 'free'")
        [entry] = entries(trail, "tier.changed")
        assert entry["object_id"] == "free"
        assert entry["details"] == {"before": {"hour_limit": 5}, "after": {"hour_limit": 7}}
        assert (entry["actor"], entry["actor_id"]) == ("database", None)


def test_a_change_that_changes_nothing_is_not_recorded(trail: QueueDriver) -> None:
    trail.do("update public.subscription_tiers set hour_limit = hour_limit")
    assert entries(trail, "tier.changed") == []


def test_of_a_flow_only_the_names_of_fields_are_recorded(trail: QueueDriver) -> None:
    user = trail.user()
    trail.do("update public.flows set name = 'payslips of Ana' where id = %s", user.flow_id)
    [entry] = entries(trail, "flow.changed")
    assert entry["details"] == {"fields": ["name"]}
    assert str(entry["user_id"]) == user.id


def test_actor_and_address_come_from_the_request(trail: QueueDriver) -> None:
    user = trail.user()
    headers = {"x-forwarded-for": "203.0.113.9, 10.0.0.1", "x-flowstate-actor": "ana;drop @host"}
    set_headers = "select set_config('request.headers', %s, true)"
    with trail.acting_as("authenticated", user.id):
        trail.do(set_headers, json.dumps(headers))
        trail.do("update public.flows set name = 'n' where id = %s", user.flow_id)
    [entry] = entries(trail, "flow.changed")
    assert (str(entry["actor_id"]), entry["actor"]) == (user.id, "user")
    assert str(entry["address"]) == "203.0.113.9"
    with trail.acting_as("service_role"):
        trail.do(set_headers, json.dumps(headers))
        trail.do("update public.user_profiles set tier = 'pro' where user_id = %s", user.id)
    entry = entries(trail, "user.changed")[-1]
    assert entry["actor"] == "service anadrop@host"


def test_an_address_that_is_none_is_left_out(trail: QueueDriver) -> None:
    with trail.connection.transaction():
        trail.do("select set_config('request.headers', %s, true)", '{"x-forwarded-for": "nowhere"}')
        record(trail)
    [entry] = entries(trail, "test.event")
    assert entry["address"] is None


def test_an_untouched_chain_verifies_page_by_page(trail: QueueDriver) -> None:
    record(trail, 10)
    first = verify(trail, most=4)
    assert (first["ok"], first["checked"], first["last_position"]) == (True, 4, 4)
    assert first["done"] is False
    last = verify(trail, 8, most=4)
    assert (last["ok"], last["checked"], last["last_position"]) == (True, 2, 10)
    assert last["done"] is True
    assert last["unchained"] == 0


def test_an_empty_chain_verifies(trail: QueueDriver) -> None:
    assert verify(trail)["ok"] is True


@pytest.mark.parametrize(
    "tampering",
    [
        "update public.user_activity_logs set details = '{}' where chain_position = 5",
        "update public.user_activity_logs set actor = 'x' where chain_position = 5",
        "update public.user_activity_logs set user_id = gen_random_uuid() where chain_position = 5",
        "update public.user_activity_logs set address = '10.0.0.1' where chain_position = 5",
        "update public.user_activity_logs set action = 'other.event' where chain_position = 5",
        (
            "update public.user_activity_logs set occurred_at = occurred_at + interval '1 us'"
            " where chain_position = 5"
        ),
        "update public.user_activity_logs set content_hash = sha256('x') where chain_position = 5",
        "update public.user_activity_logs set hash = sha256('x') where chain_position = 5",
        "delete from public.user_activity_logs where chain_position = 5",
        "delete from public.user_activity_logs where chain_position = 1",
        "delete from public.user_activity_logs where chain_position = 10",
        "delete from public.user_activity_logs where chain_position > 3",
        (
            "insert into public.user_activity_logs"
            " (actor, action, salt, content_hash, chain_position, hash)"
            " values ('x', 'a.b', '', sha256(''), 11, sha256(''))"
        ),
        (
            "update public.user_activity_logs set chain_position = 15 - chain_position"
            " where chain_position in (5, 10)"
        ),
    ],
)
def test_the_chain_shows_what_was_done_to_it(trail: QueueDriver, tampering: str) -> None:
    record(trail, 10)
    assert verify(trail)["ok"] is True
    trail.do(tampering)
    answer = verify(trail)
    assert answer["ok"] is False
    assert answer["broken"]["problem"]


def test_a_dropped_partition_moves_the_beginning(trail: QueueDriver) -> None:
    record(trail, 6)
    verify(trail)
    trail.do(
        "create table partitions.old_trail as select * from public.user_activity_logs"
        " where chain_position <= 4"
    )
    try:
        trail.do("select private.move_activity_horizon('old_trail')")
        trail.do("delete from public.user_activity_logs where chain_position <= 4")
    finally:
        trail.do("drop table partitions.old_trail")
    answer = verify(trail)
    assert (answer["ok"], answer["first_position"], answer["checked"]) == (True, 5, 2)


def test_rows_are_chained_in_bounded_steps(trail: QueueDriver) -> None:
    record(trail, 5)
    assert trail.value("select private.chain_activity(3)") == 3
    assert trail.value("select private.chain_activity(3)") == 2
    assert trail.value("select private.chain_activity(3)") == 0
    assert verify(trail)["ok"] is True


def test_two_chainers_do_not_meet(trail: QueueDriver, database_url: str) -> None:
    record(trail, 5)
    with psycopg.connect(database_url) as other:
        other.execute("select private.chain_activity(3)")
        assert trail.value("select private.chain_activity(3)") == 0
        other.rollback()
    assert verify(trail)["last_position"] == 5


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"action": "no dot"}, "action"),
        ({"details": "[]"}, "details"),
        ({"details": json.dumps({"x": "y" * 9000})}, "details"),
        ({"object_id": "x" * 201}, "object_id"),
        ({"user_id": "00000000-0000-0000-0000-000000000000"}, "user_id"),
    ],
)
def test_a_products_event_is_checked(
    trail: QueueDriver, arguments: dict[str, Any], field: str
) -> None:
    given = {"user_id": trail.user().id, "action": "invoice.sent", **arguments}
    call = ", ".join(f"{name} => %s" for name in given)
    with pytest.raises(psycopg.Error, match=field):
        trail.do(f"select public.record_user_activity({call})", *given.values())
    assert entries(trail, "invoice.sent") == []


def test_nobody_changes_the_trail_through_the_api(trail: QueueDriver) -> None:
    record(trail)
    for role in ("anon", "authenticated", "service_role"):
        for statement in (
            "update public.user_activity_logs set actor = 'x'",
            "delete from public.user_activity_logs",
            (
                "insert into public.user_activity_logs (actor, action, content_hash)"
                " values ('x', 'a.b', '')"
            ),
        ):
            with (
                pytest.raises(psycopg.errors.InsufficientPrivilege),
                trail.acting_as(role, trail.user().id if role == "authenticated" else None),
            ):
                trail.do(statement)


def test_a_trail_that_is_being_chained_meanwhile_is_verified_with_its_new_end(
    trail: QueueDriver,
) -> None:
    record(trail, 3)
    verify(trail)
    record(trail, 2)
    with (
        psycopg.connect(trail.url) as chaining,
        psycopg.connect(trail.url, autocommit=True) as verifying,
        ThreadPoolExecutor(1) as pool,
    ):
        chaining.execute("select private.chain_activity(100)")
        answer = pool.submit(
            lambda: verifying.execute("select public.verify_activity()").fetchone()
        )
        pid = verifying.info.backend_pid
        while not answer.done() and not trail.value("select pg_blocking_pids(%s)", pid):
            pass
        chaining.commit()
        found = answer.result()
    assert found
    assert (found[0]["ok"], found[0]["last_position"]) == (True, 5)


def test_the_latest_of_the_trail_are_read_from_an_index(trail: QueueDriver) -> None:
    record(trail, 200)
    trail.do("analyze public.user_activity_logs")
    with trail.connection.transaction(force_rollback=True):
        # A table of 200 rows would be read as a whole; one of millions is not.
        trail.do("set local enable_seqscan = off")
        plan = trail.rows(
            "explain select * from public.user_activity_logs order by occurred_at desc limit 50"
        )
    text = "\n".join(str(row["QUERY PLAN"]) for row in plan)
    assert "Sort  (" not in text
    assert "occurred_at_idx" in text
