"""Admission: idempotent, limited exactly, all or nothing."""

from __future__ import annotations

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.sql.driver import QueueDriver, result


def refusal(error: psycopg.Error) -> tuple[dict[str, Any], dict[str, Any]]:
    """Body and HTTP options of an error in PostgREST's own form."""
    assert error.sqlstate == "PGRST"
    return json.loads(str(error.diag.message_primary)), json.loads(str(error.diag.message_detail))


def test_an_execution_is_queued_with_its_row_its_acceptance_and_a_wake_up(
    queue: QueueDriver,
) -> None:
    user = queue.user()
    answer = queue.enqueue(user, input={"sheet": "abc"}, priority=5)
    row = queue.live(answer["execution_id"])
    assert row is not None
    assert (row["state"], row["input"], row["priority"]) == ("available", {"sheet": "abc"}, 5)
    assert answer["duplicate"] is False
    assert queue.value("select count(*) from public.rate_limit_tracking") == 1
    assert queue.value(
        "select count(*) from realtime.messages where topic = 'flowstate:queue' and event = 'wake'"
    )
    assert queue.counters_are_true()


def test_a_moment_ahead_schedules_the_execution(queue: QueueDriver) -> None:
    moment = datetime.now(UTC) + timedelta(hours=3)
    answer = queue.enqueue(queue.user(), run_at=moment)
    assert answer["state"] == "scheduled"
    assert queue.counters_are_true()
    assert queue.claim() == []


def test_the_same_key_gives_the_same_execution_also_after_it_ended(queue: QueueDriver) -> None:
    user = queue.user()
    queue.instances(1)
    first = queue.enqueue(user, idempotency_key="invoice 7")
    again = queue.enqueue(user, idempotency_key="invoice 7")
    assert again == {**first, "duplicate": True}
    [claimed] = queue.claim()
    queue.finish(result(claimed, "succeeded"))
    after = queue.enqueue(user, idempotency_key="invoice 7")
    assert after["execution_id"] == first["execution_id"]
    assert queue.value("select count(*) from public.flow_execution_queue") == 0


def test_a_key_is_free_again_after_a_day(queue: QueueDriver) -> None:
    user = queue.user()
    first = queue.enqueue(user, idempotency_key="k")
    queue.do("update private.idempotency_keys set created_at = created_at - interval '25 hours'")
    assert queue.enqueue(user, idempotency_key="k")["execution_id"] != first["execution_id"]


def test_keys_of_two_users_do_not_meet(queue: QueueDriver) -> None:
    one, other = queue.user(), queue.user()
    first = queue.enqueue(one, idempotency_key="k")
    assert queue.enqueue(other, idempotency_key="k")["execution_id"] != first["execution_id"]


def test_the_sixth_execution_of_a_free_user_within_an_hour_is_refused_with_429(
    queue: QueueDriver,
) -> None:
    user = queue.user("free")
    for _ in range(5):
        queue.enqueue(user)
    with pytest.raises(psycopg.Error) as caught:
        queue.enqueue(user)
    body, options = refusal(caught.value)
    assert options["status"] == 429
    assert 3590 <= int(options["headers"]["Retry-After"]) <= 3600
    assert json.loads(body["details"])["limit"] == 5
    assert queue.value("select count(*) from public.flow_execution_queue") == 5


def test_room_returns_when_the_oldest_acceptance_leaves_the_window(queue: QueueDriver) -> None:
    user = queue.user("free")
    for _ in range(5):
        queue.enqueue(user)
    queue.do(
        "update public.rate_limit_tracking set accepted_at = accepted_at - interval '3601 seconds'"
        " where execution_id ="
        " (select min(execution_id::text)::uuid from public.rate_limit_tracking)"
    )
    queue.enqueue(user)
    with pytest.raises(psycopg.Error):
        queue.enqueue(user)


def test_a_deferred_execution_is_scheduled_for_the_moment_it_will_be_accepted(
    queue: QueueDriver,
) -> None:
    user = queue.user("free")
    for _ in range(5):
        queue.enqueue(user)
    deferred = [queue.enqueue(user, on_limit="defer") for _ in range(6)]
    assert {d["state"] for d in deferred} == {"scheduled"}
    accepted = [
        row["accepted_at"]
        for row in queue.rows("select accepted_at from public.rate_limit_tracking order by 1")
    ]
    hour = timedelta(seconds=3600)
    # In no span of 3,600 s more than five: the n-th and the (n + 5)-th are an hour apart.
    assert all(
        later - earlier >= hour for earlier, later in zip(accepted, accepted[5:], strict=False)
    )


def test_the_limit_is_exact_under_concurrent_callers(queue: QueueDriver) -> None:
    user = queue.user("free")

    def attempt(_: int) -> bool:
        other = QueueDriver(queue.url)
        try:
            other.enqueue(user)
            return True
        except psycopg.Error:
            return False
        finally:
            other.close()

    with ThreadPoolExecutor(8) as pool:
        accepted = sum(pool.map(attempt, range(40)))
    assert accepted == 5


def test_a_changed_tier_acts_on_the_next_call(queue: QueueDriver) -> None:
    user = queue.user("free")
    for _ in range(5):
        queue.enqueue(user)
    queue.do("update public.user_profiles set tier = 'pro' where user_id = %s", user.id)
    queue.enqueue(user)


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"input": [1]}, "input"),
        ({"input": {"x": "a" * 70_000}}, "input"),
        ({"idempotency_key": ""}, "idempotency_key"),
        ({"idempotency_key": "k" * 201}, "idempotency_key"),
        ({"priority": 101}, "priority"),
        ({"priority": -101}, "priority"),
        ({"on_limit": "maybe"}, "on_limit"),
        ({"run_at": datetime.now(UTC) + timedelta(days=400)}, "run_at"),
        ({"run_at": "infinity"}, "run_at"),
    ],
)
def test_a_bad_argument_is_refused_by_its_name(
    queue: QueueDriver, arguments: dict[str, Any], field: str
) -> None:
    with pytest.raises(psycopg.Error, match=f"^{field} ") as caught:
        queue.enqueue(queue.user(), **arguments)
    assert caught.value.sqlstate == "PT400"
    assert queue.value("select count(*) from public.flow_execution_queue") == 0


def test_unknown_and_foreign_flows_are_refused_alike(queue: QueueDriver) -> None:
    user, stranger = queue.user(), queue.user()
    for flow_id in (str(uuid.uuid4()), stranger.flow_id):
        with pytest.raises(psycopg.Error, match=f"you have no flow {flow_id}") as caught:
            queue.enqueue(user, flow_id)
        assert caught.value.sqlstate == "PT404"


def test_a_disabled_flow_and_a_suspended_user_are_refused(queue: QueueDriver) -> None:
    user = queue.user(is_enabled=False)
    with pytest.raises(psycopg.Error) as caught:
        queue.enqueue(user)
    assert caught.value.sqlstate == "PT409"
    queue.do("update public.user_profiles set suspended_at = now() where user_id = %s", user.id)
    with pytest.raises(psycopg.Error) as caught:
        queue.enqueue(user)
    assert caught.value.sqlstate == "PT403"


def test_bulk_answers_each_item_and_keeps_the_limits_of_each_owner(queue: QueueDriver) -> None:
    free, pro = queue.user("free"), queue.user("pro")
    items = [{"flow_id": free.flow_id}] * 7 + [{"flow_id": pro.flow_id, "idempotency_key": "k"}] * 2
    answers = queue.enqueue_many([*items, {"flow_id": str(uuid.uuid4())}])
    assert [a["item"] for a in answers] == list(range(10))
    assert [a["refused"] for a in answers] == [None] * 5 + ["hour_limit"] * 2 + [None] * 2 + [
        "unknown_flow"
    ]
    assert answers[7]["execution_id"] == answers[8]["execution_id"]
    assert [a["duplicate"] for a in answers[7:9]] == [False, True]
    assert queue.counters_are_true()


@pytest.mark.parametrize(
    "bad",
    [
        {"flow_id": "nonsense"},
        {"input": {}},
        {"flow_id": str(uuid.uuid4()), "priority": 1000},
        {"flow_id": str(uuid.uuid4()), "priority": "high"},
        {"flow_id": str(uuid.uuid4()), "input": 7},
        {"flow_id": str(uuid.uuid4()), "run_at": "tomorrow-ish"},
        "text",
    ],
)
def test_one_malformed_item_refuses_the_whole_batch(queue: QueueDriver, bad: Any) -> None:
    user = queue.user()
    with pytest.raises(psycopg.Error, match="items") as caught:
        queue.enqueue_many([{"flow_id": user.flow_id}, bad])
    assert caught.value.sqlstate == "PT400"
    assert queue.value("select count(*) from public.flow_execution_queue") == 0


def test_nobody_signed_in_means_nobody_is_served(queue: QueueDriver) -> None:
    user = queue.user()
    with pytest.raises(psycopg.Error) as caught, queue.acting_as("service_role"):
        queue.do("select public.enqueue_flow_execution(%s)", user.flow_id)
    assert caught.value.sqlstate == "PT401"


def test_a_batch_is_as_large_as_an_answer_of_the_api_and_no_larger(queue: QueueDriver) -> None:
    user = queue.user("enterprise")
    with pytest.raises(psycopg.Error, match="items must be a list of 1 to 1000"):
        queue.enqueue_many([{"flow_id": user.flow_id}] * 1001)
    assert len(queue.enqueue_many([{"flow_id": user.flow_id}] * 1000)) == 1000


def test_neither_callers_nor_claimers_wait_for_a_call_that_has_not_committed(
    queue: QueueDriver,
) -> None:
    queue.instances(1)
    waiting, first, second = queue.user(), queue.user(), queue.user()
    queue.enqueue(waiting)
    queue.do("update private.wake_ups set woken_at = '-infinity'")
    other = QueueDriver(queue.url)
    try:
        other.do("set lock_timeout = '2s'")
        with queue.connection.transaction():
            queue.enqueue(first)
            assert other.enqueue(second)["state"] == "available"
            assert len(other.claim()) == 2
    finally:
        other.close()
