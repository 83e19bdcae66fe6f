"""Whatever was accepted, deferred and changed before: admission does what the model says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sql.driver import QueueDriver, User
from tests.sql.limits_model import (
    SECOND,
    USER_WINDOWS,
    Flow,
    Limit,
    Model,
    drop_old_partitions,
    micros,
    moment,
    now,
    pass_time,
    remember,
    set_flow,
    set_limits,
    tracked,
)

DAY = 86_400
exactly = settings(
    max_examples=50,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@dataclass(frozen=True)
class Enqueue:
    """Some executions in one call: (index of the flow, refuse or defer) each."""

    items: tuple[tuple[int, str], ...]


@dataclass(frozen=True)
class PassTime:
    seconds: int


@dataclass(frozen=True)
class ChangeLimits:
    limits: tuple[int | None, ...]


@dataclass(frozen=True)
class ChangeFlow:
    index: int
    burst_limit: int | None
    burst_seconds: int
    hour_limit: int | None


@dataclass(frozen=True)
class CancelDeferred:
    """The one that waits longest for its moment."""


Step = Enqueue | PassTime | ChangeLimits | ChangeFlow | CancelDeferred

few = st.one_of(st.none(), st.integers(1, 5))
user_limits = st.tuples(
    st.one_of(st.integers(1, 6), st.none()),
    st.one_of(st.none(), st.integers(2, 12)),
    st.one_of(st.none(), st.integers(3, 20)),
)
flow_limits = st.builds(ChangeFlow, st.integers(0, 1), few, st.sampled_from([60, 600, 3600]), few)
items = st.tuples(st.integers(0, 1), st.sampled_from(["refuse", "defer"]))
enqueues = st.lists(items, min_size=1, max_size=10).map(lambda found: Enqueue(tuple(found)))
# Half a minute off, so that no acceptance leaves a window while a step runs.
pauses = st.sampled_from([90, 570, 2130, 3630, 30_030, DAY + 630, 8 * DAY + 30, 31 * DAY + 90])
steps: st.SearchStrategy[Step] = st.one_of(
    enqueues,
    enqueues,
    enqueues,
    pauses.map(PassTime),
    user_limits.map(ChangeLimits),
    flow_limits,
    st.just(CancelDeferred()),
)
histories = st.lists(
    st.one_of(st.integers(0, 120), st.integers(0, 1000), st.integers(0, 45_000)), max_size=8
).map(lambda minutes: [60 * n + 15 for n in minutes])


class Trial:
    """The model and the database, side by side."""

    def __init__(self, queue: QueueDriver, history: list[int], first: tuple[Any, ...]) -> None:
        self.queue = queue
        self.user: User = queue.user("free")
        self.flows = [Flow(self.user.flow_id), Flow(queue.flow(self.user.id))]
        self.model = Model({})
        self.change_limits(first)
        start = now(queue)
        times = [start - seconds * SECOND for seconds in history]
        remember(queue, self.user, times)
        self.model.accepted = [(time, None) for time in times]

    def change_limits(self, found: tuple[int | None, ...]) -> None:
        self.model.limits = dict(zip((name for name, _ in USER_WINDOWS), found, strict=True))
        set_limits(self.queue, self.user, self.model.limits)

    def run(self, step: Step) -> None:
        match step:
            case Enqueue():
                self.enqueue(step)
            case PassTime(seconds):
                pass_time(self.queue, self.user, seconds)
                drop_old_partitions(self.queue)
                self.model.pass_time(seconds)
            case ChangeLimits(found):
                self.change_limits(found)
            case ChangeFlow(index=index):
                old = self.flows[index]
                day_limit = None if step.hour_limit is None else 2 * step.hour_limit
                self.flows[index] = Flow(
                    old.id, step.burst_limit, step.burst_seconds, step.hour_limit, day_limit
                )
                set_flow(self.queue, self.flows[index])
            case CancelDeferred():
                self.cancel_deferred()

    def enqueue(self, step: Enqueue) -> None:
        call = [
            {"flow_id": self.flows[index].id, "on_limit": on_limit}
            for index, on_limit in step.items
        ]
        began = now(self.queue)
        answers = self.queue.enqueue_many(call)
        ended = now(self.queue)
        # The call's own moment is the earliest thing that it accepted, if that was at once.
        times = [t for t, _ in tracked(self.queue, self.user) if began <= t <= ended]
        at = times[0] if times else began
        for (index, on_limit), answer in zip(step.items, answers, strict=True):
            flow = self.flows[index]
            checks = {limit for _, limit in self.model.checks(flow)}
            expected = self.model.earliest(flow, at)
            if expected > at and on_limit == "refuse":
                self.is_refused(answer, checks, expected, began, ended)
            elif expected > at + 366 * DAY * SECOND:
                assert answer["refused"] is not None
            else:
                assert answer["refused"] is None, (answer, moment(expected))
                assert micros(answer["run_at"]) == expected
                self.model.accept(flow, expected)
        self.agree()

    def is_refused(
        self, answer: dict[str, Any], checks: set[Limit], expected: int, began: int, ended: int
    ) -> None:
        assert answer["refused"] in {name for name, _, _ in checks}
        assert answer["limit_count"] in {
            most for name, most, _ in checks if name == answer["refused"]
        }
        longest, shortest = (-((at - expected) // SECOND) for at in (began, ended))
        assert shortest <= answer["retry_after_seconds"] <= longest

    def cancel_deferred(self) -> None:
        last = self.queue.rows(
            "select t.* from public.rate_limit_tracking t"
            " join public.flow_execution_queue q on q.id = t.execution_id"
            " where t.user_id = %s and t.accepted_at > clock_timestamp()"
            " order by t.accepted_at desc, t.execution_id limit 1",
            self.user.id,
        )
        for row in last:
            with self.queue.acting_as("authenticated", self.user.id):
                self.queue.do("select public.cancel_flow_execution(%s)", row["execution_id"])
            flow_id = None if row["flow_id"] is None else str(row["flow_id"])
            self.model.accepted.remove((micros(row["accepted_at"]), flow_id))
            self.agree()

    def agree(self) -> None:
        horizon = now(self.queue) - 31 * DAY * SECOND
        found, expected = (
            sorted(((t, flow or "") for t, flow in accepted if t > horizon))
            for accepted in (tracked(self.queue, self.user), self.model.accepted)
        )
        assert found == expected


@exactly
@given(histories, user_limits, flow_limits, st.lists(steps, min_size=1, max_size=15))
def test_admission_does_what_the_model_says(
    queue: QueueDriver,
    history: list[int],
    first: tuple[int | None, ...],
    flow: ChangeFlow,
    found: list[Step],
) -> None:
    trial = Trial(queue, history, first)
    for step in [flow, *found]:
        trial.run(step)
    assert queue.counters_are_true()
