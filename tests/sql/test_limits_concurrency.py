"""Eight connections at once: no span with more than a limit, no refusal while there is room."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sql.driver import QueueDriver, User
from tests.sql.limits_model import (
    SECOND,
    USER_WINDOWS,
    Flow,
    Model,
    now,
    overflows,
    remember,
    set_flow,
    set_limits,
    tracked,
)

CALLERS = 8
exactly = settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
Answer = TypeVar("Answer")


class Crowd:
    """Callers on connections of their own."""

    def __init__(self, url: str) -> None:
        self.drivers = [QueueDriver(url) for _ in range(CALLERS)]
        self._pool = ThreadPoolExecutor(CALLERS)

    def all_do(self, act: Callable[[QueueDriver, int], Answer]) -> list[Answer]:
        return list(self._pool.map(act, self.drivers, range(CALLERS)))

    def close(self) -> None:
        self._pool.shutdown()
        for driver in self.drivers:
            driver.close()


@pytest.fixture(scope="module")
def crowd(database_url: str) -> Iterator[Crowd]:
    made = Crowd(database_url)
    yield made
    made.close()


def try_to_enqueue(driver: QueueDriver, user: User, flow_id: str, on_limit: str) -> bool:
    try:
        driver.enqueue(user, flow_id, on_limit=on_limit)
    except psycopg.Error as error:
        if error.sqlstate != "PGRST":
            raise
        return False
    return True


def keeps_all_limits(queue: QueueDriver, user: User, model: Model, flow: Flow) -> bool:
    found = tracked(queue, user)
    own = [time for time, flow_id in found if flow_id == flow.id]
    return not any(
        overflows([time for time, _ in found], most, seconds)
        for name, seconds in USER_WINDOWS
        if (most := model.limits[name]) is not None
    ) and not any(overflows(own, most, seconds) for _, most, seconds in flow.limits)


# Limits and ages of the history are such that nothing leaves a window while the callers call.
user_limits = st.fixed_dictionaries(
    {
        "hour_limit": st.one_of(st.none(), st.integers(1, 20)),
        "day_limit": st.one_of(st.none(), st.integers(5, 25)),
        "month_limit": st.one_of(st.none(), st.integers(10, 30)),
    }
)
histories = st.lists(st.integers(0, 40_000).map(lambda m: 60 * m + 30), max_size=10)


@exactly
@given(user_limits, histories, st.one_of(st.none(), st.integers(1, 15)), st.integers(1, 5))
def test_callers_at_once_get_exactly_the_room_there_is(
    queue: QueueDriver,
    crowd: Crowd,
    limits: dict[str, int | None],
    history: list[int],
    flow_hour: int | None,
    calls: int,
) -> None:
    user = queue.user("free")
    flow = Flow(user.flow_id, hour_limit=flow_hour)
    model = Model(limits)
    start = now(queue)
    set_limits(queue, user, limits)
    set_flow(queue, flow)
    # What overflows by itself is no history that these limits would have let happen.
    for age in sorted(history, reverse=True):
        if model.earliest(Flow(""), start - age * SECOND) == start - age * SECOND:
            model.accepted.append((start - age * SECOND, None))
    remember(queue, user, [time for time, _ in model.accepted])

    answers = crowd.all_do(
        lambda driver, _: [try_to_enqueue(driver, user, flow.id, "refuse") for _ in range(calls)]
    )
    expected = 0
    while expected < CALLERS * calls and model.earliest(flow, start) == start:
        model.accept(flow, start)
        expected += 1
    assert sum(map(sum, answers)) == expected
    assert keeps_all_limits(queue, user, model, flow)
    assert queue.counters_are_true()


@exactly
@given(user_limits, st.one_of(st.none(), st.integers(1, 3)))
def test_what_is_deferred_at_once_keeps_all_limits_and_leaves_no_gap(
    queue: QueueDriver, crowd: Crowd, limits: dict[str, int | None], burst: int | None
) -> None:
    user = queue.user("free")
    flow = Flow(user.flow_id, burst_limit=burst, burst_seconds=600)
    model = Model(limits)
    set_limits(queue, user, limits)
    set_flow(queue, flow)
    crowd.all_do(
        lambda driver, _: [try_to_enqueue(driver, user, flow.id, "defer") for _ in range(4)]
    )
    ended = now(queue)
    found = [time for time, _ in tracked(queue, user)]
    assert len(found) == 4 * CALLERS
    assert keeps_all_limits(queue, user, model, flow)
    # Each stands at the first moment that those before it leave.
    for time in found:
        assert model.earliest(flow, min(time, ended)) == time
        model.accept(flow, time)


def test_batches_of_many_users_in_any_order_deadlock_never_and_are_exact(
    queue: QueueDriver, crowd: Crowd
) -> None:
    users = [queue.user("free") for _ in range(12)]
    limited = users[:4]
    for user in limited:
        set_flow(queue, Flow(user.flow_id, burst_limit=2))

    def send(driver: QueueDriver, seed: int) -> int:
        chance = random.Random(seed)
        accepted = 0
        for _ in range(4):
            items = [{"flow_id": user.flow_id} for user in chance.sample(users, 9)]
            accepted += sum(row["refused"] is None for row in driver.enqueue_many(items))
        return accepted

    accepted = sum(crowd.all_do(send))
    counts = {
        str(row["user_id"]): row["n"]
        for row in queue.rows(
            "select user_id, count(*) as n from public.rate_limit_tracking group by 1"
        )
    }
    assert counts == {user.id: 2 if user in limited else 5 for user in users}
    assert accepted == sum(counts.values())
    assert queue.counters_are_true()


def test_a_limit_that_changes_under_calls_is_never_exceeded_by_more_than_its_greatest(
    queue: QueueDriver, crowd: Crowd
) -> None:
    user = queue.user("free")

    def act(driver: QueueDriver, caller: int) -> None:
        for turn in range(6):
            if caller == 0:
                most = (4, 9, 2)[turn % 3]
                set_limits(
                    driver, user, {"hour_limit": most, "day_limit": None, "month_limit": None}
                )
            else:
                try_to_enqueue(driver, user, user.flow_id, "refuse")

    crowd.all_do(act)
    assert 2 <= len(tracked(queue, user)) <= 9
    assert not try_to_enqueue(queue, user, user.flow_id, "refuse")
