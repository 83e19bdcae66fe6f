"""Sliding windows in plain Python, to compare admission with, and means to move a user's history.

Times are whole microseconds. Nothing here knows how the database does it: every question is
answered by looking at all spans.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.sql.driver import QueueDriver, User

SECOND = 1_000_000
USER_WINDOWS = (("hour_limit", 3600), ("day_limit", 86_400), ("month_limit", 2_592_000))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Limit = tuple[str, int, int]
"""Name, how many, in how many seconds."""


def micros(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def moment(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)


def overflows(times: list[int], most: int, seconds: int) -> bool:
    """Whether any span of so many seconds (its end not included) holds more than `most`."""
    ordered = sorted(times)
    return any(
        later - earlier < seconds * SECOND
        for earlier, later in zip(ordered, ordered[most:], strict=False)
    )


def fits(times: list[int], at: int, most: int, seconds: int) -> bool:
    """Whether one more at this moment leaves no span around it with more than `most`."""
    near = [time for time in times if abs(time - at) < seconds * SECOND]
    starts = [time for time in [*near, at] if at - seconds * SECOND < time <= at]
    return all(
        1 + sum(start <= time < start + seconds * SECOND for time in near) <= most
        for start in starts
    )


@dataclass
class Flow:
    """A flow of the user, with its own limits or without."""

    id: str
    burst_limit: int | None = None
    burst_seconds: int = 60
    hour_limit: int | None = None
    day_limit: int | None = None

    @property
    def limits(self) -> list[Limit]:
        all_ = (
            ("flow_burst_limit", self.burst_limit, self.burst_seconds),
            ("flow_hour_limit", self.hour_limit, 3600),
            ("flow_day_limit", self.day_limit, 86_400),
        )
        return [(name, most, seconds) for name, most, seconds in all_ if most is not None]


@dataclass
class Model:
    """One user: what was accepted when, for which flow if it had limits then."""

    limits: dict[str, int | None]
    accepted: list[tuple[int, str | None]] = field(default_factory=list)

    def checks(self, flow: Flow) -> list[tuple[list[int], Limit]]:
        """Every limit that such an execution is held to, with what counts for it."""
        everything = [time for time, _ in self.accepted]
        own = [time for time, flow_id in self.accepted if flow_id == flow.id]
        user = [
            (everything, (name, most, seconds))
            for name, seconds in USER_WINDOWS
            if (most := self.limits[name]) is not None
        ]
        return [*user, *((own, limit) for limit in flow.limits)]

    def earliest(self, flow: Flow, now: int) -> int:
        """The first moment from `now` on at which one more execution overflows nothing."""
        checks = self.checks(flow)
        candidates = {now} | {
            time + seconds * SECOND
            for times, (_, _, seconds) in checks
            for time in times
            if time + seconds * SECOND > now
        }
        return next(
            at
            for at in sorted(candidates)
            if all(fits(times, at, most, seconds) for times, (_, most, seconds) in checks)
        )

    def accept(self, flow: Flow, at: int) -> None:
        self.accepted.append((at, flow.id if flow.limits else None))

    def pass_time(self, seconds: int) -> None:
        self.accepted = [(time - seconds * SECOND, flow_id) for time, flow_id in self.accepted]


def now(queue: QueueDriver) -> int:
    found = queue.value("select clock_timestamp()")
    assert isinstance(found, datetime)
    return micros(found)


def set_limits(queue: QueueDriver, user: User, limits: dict[str, int | None]) -> None:
    """By an exception, which is how one user gets limits of their own."""
    unlimited = [name for name, most in limits.items() if most is None]
    queue.do(
        "insert into public.user_limit_overrides"
        " (user_id, hour_limit, day_limit, month_limit, unlimited, reason, ends_at)"
        " values (%s, %s, %s, %s, %s, 'test', now() + interval '10 years')"
        " on conflict (user_id) do update set hour_limit = excluded.hour_limit,"
        " day_limit = excluded.day_limit, month_limit = excluded.month_limit,"
        " unlimited = excluded.unlimited",
        user.id,
        *(limits[name] for name, _ in USER_WINDOWS),
        unlimited,
    )


def set_flow(queue: QueueDriver, flow: Flow) -> None:
    queue.do(
        "update public.flows set burst_limit = %s, burst_seconds = %s, hour_limit = %s,"
        " day_limit = %s where id = %s",
        flow.burst_limit,
        flow.burst_seconds,
        flow.hour_limit,
        flow.day_limit,
        flow.id,
    )


def remember(queue: QueueDriver, user: User, times: list[int]) -> None:
    """Acceptances of earlier, beside admission; what was counted is counted anew."""
    with queue.connection.cursor() as cursor:
        cursor.executemany(
            "insert into public.rate_limit_tracking (user_id, accepted_at, execution_id)"
            " values (%s, %s, gen_random_uuid())",
            [(user.id, moment(time)) for time in times],
        )
    queue.do(
        "insert into private.user_queue as q"
        " (user_id, tier, weight, max_running, hour_from, day_from, month_from)"
        " select user_id, tier, weight, max_running, null, null, null from private.effective_limits"
        " where user_id = %s"
        " on conflict (user_id) do update set hour_from = null, day_from = null, month_from = null",
        user.id,
    )


_QUEUE_TIMES = ("hour_from", "day_from", "month_from", "full_until")
_FLOW_TIMES = ("burst_from", "hour_from", "day_from")


def pass_time(queue: QueueDriver, user: User, seconds: int) -> None:
    """As if so many seconds had passed: acceptances, and what was counted of them, are older."""

    def older(columns: tuple[str, ...]) -> str:
        return ", ".join(f"{c} = old.{c} - make_interval(secs => {seconds})" for c in columns)

    with queue.connection.transaction():
        queue.do(
            "create temp table queue_before on commit drop as"
            " select * from private.user_queue where user_id = %s",
            user.id,
        )
        queue.do("create temp table flows_before on commit drop as table private.flow_windows")
        # This makes what was counted void, which time does not.
        queue.do(
            "update public.rate_limit_tracking"
            " set accepted_at = accepted_at - make_interval(secs => %s) where user_id = %s",
            seconds,
            user.id,
        )
        queue.do(
            f"update private.user_queue q set {older(_QUEUE_TIMES)} from queue_before old"
            " where q.user_id = old.user_id"
        )
        queue.do(
            f"update private.flow_windows w set {older(_FLOW_TIMES)} from flows_before old"
            " where w.flow_id = old.flow_id"
        )


def drop_old_partitions(queue: QueueDriver) -> None:
    """What is older than the 32 days that rate_limit_tracking is kept for goes, unseen."""
    queue.do(
        "delete from partitions.rate_limit_tracking_default"
        " where accepted_at < clock_timestamp() - interval '32 days'"
    )


def tracked(queue: QueueDriver, user: User) -> list[tuple[int, Any]]:
    rows = queue.rows(
        "select accepted_at, flow_id::text as flow_id from public.rate_limit_tracking"
        " where user_id = %s order by 1",
        user.id,
    )
    return [(micros(row["accepted_at"]), row["flow_id"]) for row in rows]
