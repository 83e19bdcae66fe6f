"""History is partitioned by day: made ahead, healed when one is missing, dropped whole."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

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


def test_todays_history_has_a_partition_of_its_own(queue: QueueDriver) -> None:
    queue.do("select public.maintain_queue()")
    now = datetime.now(UTC)
    log_at(queue, now)
    assert partition_of(queue, now) == f"execution_logs_{now:%Y%m%d}"


def test_a_missing_partition_is_made_and_filled_from_the_default_one(queue: QueueDriver) -> None:
    queue.do("select public.maintain_queue()")
    moment = datetime.now(UTC) + timedelta(days=3)
    queue.do(f"drop table partitions.execution_logs_{moment:%Y%m%d}")
    log_at(queue, moment)
    assert partition_of(queue, moment) == "execution_logs_default"
    queue.do("select public.maintain_queue()")
    assert partition_of(queue, moment) == f"execution_logs_{moment:%Y%m%d}"
    assert queue.value("select count(*) from public.execution_logs") == 1


def test_partitions_past_the_longest_retention_are_dropped(queue: QueueDriver) -> None:
    queue.do("select private.make_partition('execution_logs', '2020-01-01Z', 'day')")
    queue.do("select private.make_partition('execution_logs', date_trunc('day', now(), 'UTC')"
             " - interval '300 days', 'day')")  # fmt: skip
    answer = queue.value("select public.maintain_queue()")
    assert answer["partitions"]["dropped"] == ["execution_logs_20200101"]


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
