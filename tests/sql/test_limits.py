"""Windows, limits of flows, what is deferred, and what an operator changes by hand."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from tests.sql.driver import QueueDriver, Row, User
from tests.sql.limits_model import (
    SECOND,
    Flow,
    drop_old_partitions,
    now,
    pass_time,
    remember,
    set_flow,
    set_limits,
)

HOUR = timedelta(hours=1)


def limit(queue: QueueDriver, user: User, **limits: int) -> None:
    none = {"hour_limit": None, "day_limit": None, "month_limit": None}
    set_limits(queue, user, {**none, **limits})


def acceptances(queue: QueueDriver, user: User) -> list[Any]:
    rows = queue.rows(
        "select accepted_at from public.rate_limit_tracking where user_id = %s order by 1", user.id
    )
    return [row["accepted_at"] for row in rows]


def reasons(rows: list[Row]) -> list[str | None]:
    return [row["refused"] for row in rows]


def send(queue: QueueDriver, *flow_ids: str, on_limit: str = "refuse") -> list[Row]:
    return queue.enqueue_many([{"flow_id": id_, "on_limit": on_limit} for id_ in flow_ids])


# -- flows with limits of their own ----------------------------------------------------------


def test_a_limit_of_a_flow_holds_for_that_flow_alone(queue: QueueDriver) -> None:
    user = queue.user("pro")
    other = queue.flow(user.id)
    set_flow(queue, Flow(user.flow_id, burst_limit=2))
    rows = send(queue, *[user.flow_id] * 3, *[other] * 3)
    assert reasons(rows) == [None, None, "flow_burst_limit", None, None, None]
    assert rows[2]["limit_count"] == 2
    assert 59 <= rows[2]["retry_after_seconds"] <= 60


def test_a_flow_gets_no_more_than_its_user_however_high_its_own_limit(queue: QueueDriver) -> None:
    user = queue.user("free")
    set_flow(queue, Flow(user.flow_id, hour_limit=100, day_limit=1000))
    assert reasons(send(queue, *[user.flow_id] * 6)) == [None] * 5 + ["hour_limit"]


@pytest.mark.parametrize(
    ("limits", "seconds", "name"),
    [
        ({"burst_limit": 1, "burst_seconds": 10}, 11, "flow_burst_limit"),
        ({"hour_limit": 1}, 3601, "flow_hour_limit"),
        ({"day_limit": 1}, 86_401, "flow_day_limit"),
    ],
)
def test_each_window_of_a_flow_opens_again_after_its_length(
    queue: QueueDriver, limits: dict[str, int], seconds: int, name: str
) -> None:
    user = queue.user("pro")
    set_flow(queue, Flow(user.flow_id, **limits))
    assert reasons(send(queue, user.flow_id, user.flow_id)) == [None, name]
    pass_time(queue, user, seconds - 2)
    assert reasons(send(queue, user.flow_id)) == [name]
    pass_time(queue, user, 2)
    assert reasons(send(queue, user.flow_id, user.flow_id)) == [None, name]


def test_a_new_limit_of_a_flow_counts_from_then_on(queue: QueueDriver) -> None:
    user = queue.user("pro")
    send(queue, *[user.flow_id] * 3)
    set_flow(queue, Flow(user.flow_id, hour_limit=2))
    assert reasons(send(queue, *[user.flow_id] * 3)) == [None, None, "flow_hour_limit"]
    set_flow(queue, Flow(user.flow_id, hour_limit=3))
    assert reasons(send(queue, *[user.flow_id] * 2)) == [None, "flow_hour_limit"]


def test_users_set_limits_of_their_own_flows_within_range(queue: QueueDriver) -> None:
    user, stranger = queue.user(), queue.user()
    change = "update public.flows set {} where id = %s returning id"
    with queue.acting_as("authenticated", user.id):
        assert queue.rows(change.format("burst_limit = 3, burst_seconds = 10"), user.flow_id)
        assert not queue.rows(change.format("hour_limit = 1"), stranger.flow_id)
    for bad in (
        "burst_limit = 0",
        "burst_seconds = 0",
        "burst_seconds = 3601",
        "burst_seconds = null",
        "hour_limit = -1",
        "day_limit = 10000001",
        "hour_limit = 10, day_limit = 9",
    ):
        with (
            pytest.raises(psycopg.errors.IntegrityError),
            queue.acting_as("authenticated", user.id),
        ):
            queue.do(change.format(bad), user.flow_id)


# -- deferred executions -----------------------------------------------------------------------


def test_there_is_room_now_also_when_others_are_deferred_to_later(queue: QueueDriver) -> None:
    user = queue.user("free")
    other = queue.flow(user.id)
    limit(queue, user, hour_limit=2)
    set_flow(queue, Flow(user.flow_id, hour_limit=1))
    send(queue, user.flow_id, user.flow_id, on_limit="defer")
    # Two are accepted in all, an hour apart: one more fits now, and then none.
    assert reasons(send(queue, other, other)) == [None, "hour_limit"]


def test_a_deferred_execution_that_is_cancelled_leaves_its_place_to_the_next(
    queue: QueueDriver,
) -> None:
    user = queue.user("free")
    limit(queue, user, hour_limit=1)
    first, second, third = send(queue, *[user.flow_id] * 3, on_limit="defer")
    with queue.acting_as("authenticated", user.id):
        queue.do("select public.cancel_flow_execution(%s)", second["execution_id"])
    [again] = send(queue, user.flow_id, on_limit="defer")
    assert again["run_at"] == second["run_at"] == first["run_at"] + HOUR
    [last] = send(queue, user.flow_id, on_limit="defer")
    assert last["run_at"] == third["run_at"] + HOUR


def test_an_execution_accepted_for_now_keeps_its_place_when_it_is_cancelled(
    queue: QueueDriver,
) -> None:
    user = queue.user("free")
    limit(queue, user, hour_limit=2)
    in_an_hour = queue.value("select clock_timestamp() + interval '1 hour'")
    answers = [queue.enqueue(user), queue.enqueue(user, run_at=in_an_hour)]
    with queue.acting_as("authenticated", user.id):
        for answer in answers:
            queue.do("select public.cancel_flow_execution(%s)", answer["execution_id"])
    assert reasons(send(queue, user.flow_id)) == ["hour_limit"]


def test_nothing_is_deferred_by_more_than_a_year(queue: QueueDriver) -> None:
    user = queue.user("free")
    limit(queue, user, day_limit=1)
    rows = send(queue, *[user.flow_id] * 370, on_limit="defer")
    assert reasons(rows) == [None] * 367 + ["day_limit"] * 3
    assert rows[-1]["retry_after_seconds"] == 367 * 86_400
    found = acceptances(queue, user)
    assert found == [found[0] + n * timedelta(days=1) for n in range(367)]


def test_a_higher_limit_lets_the_next_pass_those_that_were_deferred(queue: QueueDriver) -> None:
    user = queue.user("free")
    limit(queue, user, hour_limit=1)
    send(queue, *[user.flow_id] * 3, on_limit="defer")
    limit(queue, user, hour_limit=2)
    assert reasons(send(queue, user.flow_id, user.flow_id)) == [None, "hour_limit"]
    [again] = send(queue, user.flow_id, on_limit="defer")
    # At the first's end the second and the one that was deferred to then are in one window.
    assert again["run_at"] == acceptances(queue, user)[1] + HOUR


# -- what holds, and when ------------------------------------------------------------------------


def test_an_exception_that_has_ended_no_longer_counts_before_anybody_removes_it(
    queue: QueueDriver,
) -> None:
    user = queue.user("free")
    limit(queue, user, hour_limit=50)
    assert reasons(send(queue, *[user.flow_id] * 7)) == [None] * 7
    queue.do("update public.user_limit_overrides set ends_at = clock_timestamp()")
    assert reasons(send(queue, user.flow_id)) == ["hour_limit"]


def test_a_window_that_was_unlimited_knows_what_was_accepted_meanwhile(queue: QueueDriver) -> None:
    user = queue.user("enterprise")
    send(queue, *[user.flow_id] * 30)
    queue.do("update public.user_profiles set tier = 'free' where user_id = %s", user.id)
    pass_time(queue, user, 3601)
    assert reasons(send(queue, user.flow_id)) == ["day_limit"]


def test_what_went_with_its_partition_leaves_no_trace_in_the_counts(queue: QueueDriver) -> None:
    user = queue.user("free")
    limit(queue, user, month_limit=4)
    send(queue, user.flow_id, user.flow_id, user.flow_id)
    pass_time(queue, user, 33 * 86_400)
    drop_old_partitions(queue)
    assert acceptances(queue, user) == []
    assert reasons(send(queue, *[user.flow_id] * 5)) == [None] * 4 + ["month_limit"]


def test_a_batch_of_nothing_but_refusals_queues_and_wakes_nothing(queue: QueueDriver) -> None:
    user = queue.user(is_enabled=False)
    queue.do("truncate realtime.messages")
    assert reasons(send(queue, user.flow_id)) == ["flow_disabled"]
    assert queue.value("select count(*) from public.rate_limit_tracking") == 0
    assert queue.value("select count(*) from realtime.messages") == 0


def test_acceptances_that_an_operator_removes_or_moves_are_forgotten_at_once(
    queue: QueueDriver,
) -> None:
    user = queue.user("free")
    set_flow(queue, Flow(user.flow_id, hour_limit=4))
    send(queue, *[user.flow_id] * 5)
    queue.do("delete from public.rate_limit_tracking where user_id = %s", user.id)
    assert reasons(send(queue, *[user.flow_id] * 5)) == [None] * 4 + ["flow_hour_limit"]
    queue.do("update public.rate_limit_tracking set accepted_at = accepted_at - interval '1 hour'")
    assert reasons(send(queue, *[user.flow_id] * 5)) == [None] * 4 + ["flow_hour_limit"]


def test_only_admission_adds_acceptances(queue: QueueDriver) -> None:
    with (
        pytest.raises(psycopg.errors.InsufficientPrivilege),
        queue.acting_as("service_role"),
    ):
        queue.do(
            "insert into public.rate_limit_tracking (user_id, accepted_at, execution_id)"
            " values (gen_random_uuid(), now(), gen_random_uuid())"
        )


# -- what it costs ---------------------------------------------------------------------------------


def pages(queue: QueueDriver, user: User, on_limit: str) -> int:
    """How many pages a call touches, whatever lies in memory."""
    call = json.dumps([{"flow_id": user.flow_id, "on_limit": on_limit}])
    explain = "explain (analyze, buffers, format json) select * from public."
    [plan] = queue.value(f"{explain}enqueue_flow_executions(%s)", call)
    return sum(plan["Plan"][f"Shared {how} Blocks"] for how in ("Hit", "Read"))


@pytest.mark.parametrize("on_limit", ["refuse", "defer"])
@pytest.mark.parametrize("full", [False, True])
def test_a_call_reads_as_little_at_a_limit_of_20000_as_at_one_of_20(
    queue: QueueDriver, full: bool, on_limit: str
) -> None:
    costs = []
    for count in (20, 20_000):
        user = queue.user("free")
        start = now(queue)
        remember(queue, user, [start - SECOND - n * SECOND // 10 for n in range(count)])
        limit(queue, user, hour_limit=count + (1 if full else 1000), day_limit=2 * count + 1000)
        # What is counted once is known from the next acceptance on.
        for _ in range(3):
            pages(queue, user, on_limit)
        costs.append(pages(queue, user, on_limit))
    few, many = costs
    assert many <= few + 30


def test_a_call_reads_as_little_behind_2000_that_are_deferred_as_behind_2(
    queue: QueueDriver,
) -> None:
    costs = []
    for count in (2, 2000):
        user = queue.user("free")
        limit(queue, user, hour_limit=20)
        for start in range(0, count + 20, 500):
            batch = min(500, count + 20 - start)
            send(queue, *[user.flow_id] * batch, on_limit="defer")
        for on_limit in ("defer", "refuse"):
            pages(queue, user, on_limit)
        costs.append(pages(queue, user, "refuse"))
        costs.append(pages(queue, user, "defer"))
    assert max(costs[2:]) <= max(costs[:2]) + 30
