"""Partitions are made ahead, healed when one is missing, and dropped whole."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from tests.sql.driver import QueueDriver

LOG = (
    "insert into public.execution_logs (execution_id, attempt, user_id, flow_id, flow_name,"
    " flow_kind, flow_version, outcome, is_final, queued_at, finished_at)"
    " values (%s, 1, %s, %s, 'f', 'apps_script', 1, 'succeeded', true, %s, %s)"
)


def log_at(queue: QueueDriver, moment: datetime) -> None:
    queue.do(LOG, *(str(uuid.uuid4()) for _ in range(3)), moment, moment)


def partition_of(queue: QueueDriver, moment: datetime) -> str:
    name = queue.value(
        "select tableoid::regclass::text from public.execution_logs where finished_at = %s", moment
    )
    return str(name).removeprefix("partitions.")


def week_of(moment: datetime) -> datetime:
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return day - timedelta(days=day.weekday())


def spans(queue: QueueDriver, parent: str) -> list[tuple[datetime, datetime]]:
    found = queue.rows("select * from private.partitions_of(%s)", parent)
    return [(row["from_moment"], row["to_moment"]) for row in found]


@pytest.fixture
def made(queue: QueueDriver) -> Iterator[QueueDriver]:
    """Partitions as housekeeping makes them, whatever a test does to them."""
    queue.do("select public.maintain_queue()")
    yield queue
    for row in queue.rows(
        "select p.name from private.partition_policies l, private.partitions_of(l.parent) p"
    ):
        queue.do(f"drop table partitions.{row['name']}")
    queue.do(
        "update private.partition_policies set period = 'week', periods_ahead = 2"
        " where parent = 'execution_logs'"
    )
    queue.empty()
    queue.do("select public.maintain_queue()")


def test_history_has_a_partition_for_each_week(made: QueueDriver) -> None:
    now = datetime.now(UTC)
    log_at(made, now)
    assert partition_of(made, now) == f"execution_logs_{week_of(now):%Y%m%d}"


@pytest.mark.parametrize(
    ("parent", "first", "ahead"),
    [
        ("execution_logs", timedelta(weeks=-1), timedelta(weeks=1)),
        ("rate_limit_tracking", timedelta(days=-1), timedelta(days=7)),
        ("user_activity_logs", timedelta(days=-1), timedelta(days=28)),
    ],
)
def test_partitions_stand_without_gaps_from_the_past_into_the_future(
    made: QueueDriver, parent: str, first: timedelta, ahead: timedelta
) -> None:
    found = spans(made, parent)
    assert all(end == start for (_, end), (start, _) in pairwise(found))
    now = datetime.now(UTC)
    assert found[0][0] <= now + first
    assert found[-1][1] >= now + ahead


def test_a_missing_partition_is_made_and_filled_from_the_default_one(made: QueueDriver) -> None:
    moment = datetime.now(UTC) + timedelta(weeks=1)
    name = f"execution_logs_{week_of(moment):%Y%m%d}"
    made.do(f"drop table partitions.{name}")
    log_at(made, moment)
    assert partition_of(made, moment) == "execution_logs_default"
    made.do("select public.maintain_queue()")
    assert partition_of(made, moment) == name
    assert made.value("select count(*) from public.execution_logs") == 1


def test_a_changed_period_fills_what_the_partitions_before_leave(made: QueueDriver) -> None:
    before = spans(made, "execution_logs")
    for period, ahead in (("day", 20), ("month", 2), ("week", 12)):
        made.do(
            "update private.partition_policies set period = %s, periods_ahead = %s"
            " where parent = 'execution_logs'",
            period,
            ahead,
        )
        assert made.value("select public.maintain_queue()")["partitions"]["made"]
        found = spans(made, "execution_logs")
        assert all(end == start for (_, end), (start, _) in pairwise(found)), period
        assert set(before) < set(found)
        before = found


def test_partitions_past_the_longest_retention_are_dropped(made: QueueDriver) -> None:
    made.do("select private.make_partition('execution_logs', '2020-01-06Z', '2020-01-13Z')")
    made.do(
        "select private.make_partition('execution_logs', d, d + interval '7 days')"
        " from (select date_trunc('week', now(), 'UTC') - interval '301 days' as d) s"
    )
    answer = made.value("select public.maintain_queue()")
    assert answer["partitions"]["dropped"] == ["execution_logs_20200106"]


def test_what_counts_for_the_monthly_limit_is_kept_for_31_days(made: QueueDriver) -> None:
    for days in (60, 33, 31):
        made.do(
            "select private.make_partition('rate_limit_tracking', d, d + interval '1 day')"
            " from (select date_trunc('day', now(), 'UTC') - make_interval(days => %s) as d) s",
            days,
        )
    dropped = made.value("select public.maintain_queue()")["partitions"]["dropped"]
    ends = {
        days: f"rate_limit_tracking_{datetime.now(UTC) - timedelta(days=days):%Y%m%d}"
        for days in (60, 33, 31)
    }
    assert dropped == [ends[60], ends[33]]


def test_commands_are_kept_for_13_months(made: QueueDriver) -> None:
    for months in (14, 13):
        made.do(
            "select private.make_partition('command_history', d at time zone 'UTC',"
            "         (d + interval '1 month') at time zone 'UTC')"
            " from (select date_trunc('month', now() at time zone 'UTC')"
            "         - make_interval(months => %s) as d) s",
            months,
        )
    oldest = spans(made, "command_history")[0][0]
    dropped = made.value("select public.maintain_queue()")["partitions"]["dropped"]
    assert dropped == [f"command_history_{oldest:%Y%m%d}"]


def test_the_trail_learns_its_new_beginning_before_a_partition_goes(made: QueueDriver) -> None:
    made.do("truncate public.user_activity_logs, private.activity_chain")
    made.do("insert into private.activity_chain default values")
    made.do("select private.make_partition('user_activity_logs', '2020-01-01Z', '2020-02-01Z')")
    for moment in ("2020-01-15Z", "2020-01-16Z", "now"):
        made.do(
            "insert into public.user_activity_logs (actor, action, occurred_at, salt, content_hash)"
            " values ('system', 'a.b', %s, '', '')",
            moment,
        )
    made.do("select private.chain_activity(100)")
    answer = made.value("select public.maintain_queue()")
    assert answer["partitions"]["dropped"] == ["user_activity_logs_20200101"]
    assert made.value("select horizon from private.activity_chain") == 2
    made.do("truncate public.user_activity_logs, private.activity_chain")
    made.do("insert into private.activity_chain default values")


def test_housekeeping_gives_way_to_who_uses_a_table(made: QueueDriver) -> None:
    made.do("select private.make_partition('execution_logs', '2020-01-06Z', '2020-01-13Z')")
    other = QueueDriver(made.url)
    with other.connection.transaction():
        other.rows("select * from public.execution_logs")
        done = made.value("select public.maintain_queue()")["partitions"]
        assert (done["dropped"], done["postponed"]) == ([], ["execution_logs_20200106"])
    other.close()
    done = made.value("select public.maintain_queue()")["partitions"]
    assert (done["dropped"], done["postponed"]) == (["execution_logs_20200106"], [])


def test_every_step_of_housekeeping_reports_what_it_did(queue: QueueDriver) -> None:
    answer = queue.value("select public.maintain_queue()")
    assert set(answer) == {
        "skipped",
        "overrides_ended",
        "sign_ins_ended",
        "idempotency_keys_pruned",
        "processors_pruned",
        "sessions_pruned",
        "history_erased",
        "deletions_finished",
        "activity_chained",
        "history_copied",
        "partitions",
    }


def test_housekeeping_is_done_once_when_many_ask(queue: QueueDriver) -> None:
    other = QueueDriver(queue.url)
    with other.connection.transaction():
        other.do("select pg_advisory_xact_lock(7305151, 2)")
        assert queue.value("select public.maintain_queue()") == {"skipped": True}
    other.close()


@pytest.mark.parametrize("hours", [23, 25])
def test_idempotency_keys_are_pruned_after_a_day(queue: QueueDriver, hours: int) -> None:
    queue.enqueue(queue.user(), idempotency_key="k")
    queue.do(
        "update private.idempotency_keys set created_at = created_at - make_interval(hours => %s)",
        hours,
    )
    queue.do("select public.maintain_queue()")
    assert queue.value("select count(*) from private.idempotency_keys") == (hours < 24)


def test_the_time_within_an_execution_id_is_when_it_was_made(queue: QueueDriver) -> None:
    answer = queue.enqueue(queue.user())
    assert queue.value(
        "select abs(extract(epoch from private.execution_id_time(%s) - queued_at)) < 1"
        " from public.flow_execution_queue",
        answer["execution_id"],
    )


def test_execution_ids_are_version_7_and_in_order_of_time(queue: QueueDriver) -> None:
    ids = [
        str(r["id"])
        for r in queue.rows(
            "select private.new_execution_id() as id, pg_sleep(0.002) from generate_series(1, 5)"
        )
    ]
    assert ids == sorted(ids)
    assert {uuid.UUID(i).version for i in ids} == {7}
