"""Logs of a tier go with the retention of the tier: their partition is rewritten without them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.sql.driver import QueueDriver, Row

RETENTION = {"free": 30, "pro": 90, "enterprise": 365}
LONG = {"text": "".join(uuid.uuid4().hex for _ in range(500))}
"""16 KB that do not compress to nothing: kept out of line."""


def week(weeks_ago: int) -> datetime:
    """When the week began that ended so many weeks ago, or within the last one of them."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return today - timedelta(days=today.weekday(), weeks=weeks_ago + 1)


def name(begins_at: datetime) -> str:
    return f"execution_logs_{begins_at:%Y%m%d}"


@pytest.fixture
def history(queue: QueueDriver) -> Iterator[QueueDriver]:
    """Partitions and tiers as they were made, whatever a test does to them."""
    queue.do("truncate private.history_rewrites")
    yield queue
    for row in queue.rows("select name from private.partitions_of('execution_logs')"):
        queue.do(f"drop table partitions.{row['name']}")
        queue.do(f"drop table if exists partitions.{row['name']}_rewrite")
    queue.do("truncate private.history_rewrites, public.execution_logs")
    for tier, days in RETENTION.items():
        queue.do(
            "update public.subscription_tiers set log_retention_days = %s where tier = %s",
            days,
            tier,
        )
    queue.do("select private.maintain_partitions()")


def log(
    queue: QueueDriver, begins_at: datetime, *tiers: str | None, user_id: str | None = None
) -> None:
    """One row for each of the tiers, in the week that began then."""
    if begins_at not in {
        r["from_moment"]
        for r in queue.rows("select * from private.partitions_of('execution_logs')")
    }:
        queue.do(
            "select private.make_partition('execution_logs', %s, %s)",
            begins_at,
            begins_at + timedelta(weeks=1),
        )
    for n, tier in enumerate(tiers):
        moment = begins_at + timedelta(minutes=n)
        queue.do(
            "insert into public.execution_logs (execution_id, attempt, user_id, tier, flow_id,"
            " flow_name, flow_kind, flow_version, outcome, is_final, input, queued_at, finished_at)"
            " values (gen_random_uuid(), 1, %s, %s, gen_random_uuid(), 'f', 'apps_script', 1,"
            " 'succeeded', true, %s, %s, %s)",
            user_id or str(uuid.uuid4()),
            tier,
            Jsonb(LONG),
            moment,
            moment,
        )


def keep_house(queue: QueueDriver) -> Any:
    return queue.value("select public.maintain_queue()")["partitions"]


def tiers(queue: QueueDriver) -> list[str | None]:
    return [
        r["tier"] for r in queue.rows("select tier from public.execution_logs order by finished_at")
    ]


def rows_of(queue: QueueDriver, *kept: str) -> list[Row]:
    return queue.rows(
        "select * from public.execution_logs where tier = any(%s) order by finished_at", list(kept)
    )


def oid(queue: QueueDriver, partition: str) -> Any:
    return queue.value("select to_regclass(%s)::oid", f"partitions.{partition}")


def test_rows_go_with_their_tiers_retention_and_the_others_stay_as_they_were(
    history: QueueDriver,
) -> None:
    for weeks_ago in (14, 6, 3):
        log(history, week(weeks_ago), "free", "pro", "enterprise")
    before = rows_of(history, "enterprise")
    assert keep_house(history)["rewritten"] == name(week(14))
    assert keep_house(history)["rewritten"] == name(week(6))
    assert keep_house(history)["rewritten"] is None
    assert tiers(history) == ["enterprise", "pro", "enterprise", "free", "pro", "enterprise"]
    assert rows_of(history, "enterprise") == before


def test_a_row_is_never_gone_before_its_tiers_retention(history: QueueDriver) -> None:
    # The span ended a moment less than 30 days ago; most of it is older.
    end = datetime.now(UTC) - timedelta(days=30) + timedelta(minutes=1)
    begins_at = end - timedelta(weeks=1)
    history.do("select private.make_partition('execution_logs', %s, %s)", begins_at, end)
    log(history, begins_at, "free")
    assert keep_house(history)["rewritten"] is None
    assert tiers(history) == ["free"]


def test_a_partition_in_which_nothing_stays_is_just_dropped(history: QueueDriver) -> None:
    log(history, week(6), "free", "free")
    assert keep_house(history)["rewritten"] == name(week(6))
    assert oid(history, name(week(6))) is None
    assert history.rows("select * from private.history_rewrites") == []


def test_rows_without_a_known_tier_stay_for_the_longest_retention(history: QueueDriver) -> None:
    log(history, week(14), "free", "gone", None)
    log(history, week(53), "gone", None)
    done = keep_house(history)
    assert (done["rewritten"], done["dropped"]) == (name(week(14)), [name(week(53))])
    assert tiers(history) == ["gone", None]


def test_what_was_rewritten_is_not_looked_at_again(history: QueueDriver) -> None:
    log(history, week(6), "free", "pro")
    keep_house(history)
    rewritten = oid(history, name(week(6)))
    assert keep_house(history)["rewritten"] is None
    assert oid(history, name(week(6))) == rewritten


def test_a_shortened_retention_acts_on_what_was_rewritten_before(history: QueueDriver) -> None:
    log(history, week(6), "free", "pro", "enterprise")
    keep_house(history)
    history.do("update public.subscription_tiers set log_retention_days = 30 where tier = 'pro'")
    assert keep_house(history)["rewritten"] == name(week(6))
    assert tiers(history) == ["enterprise"]
    assert history.rows("select gone, going from private.history_rewrites") == [
        {"gone": ["free", "pro"], "going": None}
    ]


def test_a_large_partition_is_copied_in_steps_and_whole_until_it_is_exchanged(
    history: QueueDriver,
) -> None:
    log(history, week(6), *["free", "pro"] * 100)
    blocks = history.value("select private.blocks_of(%s)", name(week(6)))
    assert blocks > 2
    for _ in range(blocks - 1):
        history.do("select private.copy_history('0 seconds', 1)")
        assert history.value("select private.exchange_history()") is None
        assert len(tiers(history)) == 200
    history.do("select private.copy_history('0 seconds', 1)")
    assert history.value("select private.exchange_history()") == name(week(6))
    assert tiers(history) == ["pro"] * 100


def test_what_is_erased_or_changed_while_it_is_copied_stays_so(history: QueueDriver) -> None:
    erased, changed, kept = (str(uuid.uuid4()) for _ in range(3))
    for user_id in (erased, changed, kept):
        log(history, week(6), *["pro"] * 40, user_id=user_id)
    blocks = history.value("select private.blocks_of(%s)", name(week(6)))
    history.do("select private.copy_history('0 seconds', %s)", blocks // 2)
    history.do("delete from public.execution_logs where user_id = %s", erased)
    history.do("update public.execution_logs set category = 'x' where user_id = %s", changed)
    log(history, week(6), "pro", "free", user_id=kept)
    while history.value("select private.exchange_history()") is None:
        history.do("select private.copy_history('0 seconds', 1)")
    assert history.rows(
        "select user_id::text, category, count(*) from public.execution_logs group by 1, 2"
        " order by 2"
    ) == [
        {"user_id": changed, "category": "x", "count": 40},
        {"user_id": kept, "category": None, "count": 41},
    ]


def test_a_row_that_comes_late_into_what_was_copied_is_not_lost(history: QueueDriver) -> None:
    log(history, week(6), "free", "pro")
    history.do("select private.copy_history('1 second')")
    log(history, week(6), "enterprise")
    assert history.value("select private.exchange_history()") == name(week(6))
    assert sorted(str(tier) for tier in tiers(history)) == ["enterprise", "pro"]


def test_an_erasure_and_a_copy_do_not_miss_each_other(history: QueueDriver) -> None:
    user_id = str(uuid.uuid4())
    log(history, week(6), "pro", "pro", user_id=user_id)
    history.do("select private.begin_rewrite()")
    other = QueueDriver(history.url)
    with other.connection.transaction():
        other.do("delete from public.execution_logs where user_id = %s", user_id)
        assert history.value("select private.copy_history('1 second')")["postponed"] is True
    with history.connection.transaction():
        history.do("select private.copy_history('1 second')")
        other.do("set lock_timeout = '50ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            other.do("delete from public.execution_logs where user_id = %s", user_id)
    other.close()


def test_copying_holds_nobody_up(history: QueueDriver) -> None:
    history.do("select private.maintain_partitions()")
    log(history, week(6), "free", "pro")
    other = QueueDriver(history.url)
    with history.connection.transaction():
        assert history.value("select private.copy_history('1 second')")["copied"] == 1
        # Not yet committed: what it holds, it holds now.
        other.do("set lock_timeout = '50ms'")
        log(other, week(-1), "free")
        assert tiers(other) == ["free", "pro", "free"]
        other.do("update public.execution_logs set category = 'x' where finished_at >= %s", week(1))
    other.close()


@pytest.mark.parametrize(
    "use",
    [
        "select * from public.execution_logs",
        (
            "insert into public.execution_logs (execution_id, attempt, user_id, flow_id, flow_name,"
            " flow_kind, flow_version, outcome, is_final, queued_at) values (gen_random_uuid(), 1,"
            " gen_random_uuid(), gen_random_uuid(), 'f', 'x', 1, 'failed', false, now())"
        ),
    ],
)
def test_the_exchange_gives_way_to_who_uses_the_table(history: QueueDriver, use: str) -> None:
    log(history, week(6), "free", "pro")
    other = QueueDriver(history.url)
    with other.connection.transaction():
        other.do(use)
        done = keep_house(history)
        assert (done["rewritten"], done["postponed"]) == (None, ["execution_logs"])
        assert tiers(other)[:2] == ["free", "pro"]
    other.close()
    assert keep_house(history)["rewritten"] == name(week(6))
    assert "free" not in tiers(history)


SHAPE = """
select pg_get_expr(c.relpartbound, c.oid) as bound, c.relrowsecurity as secured,
       (select array_agg(pg_get_indexdef(h.inhparent) order by 1)
          from pg_index i join pg_inherits h on h.inhrelid = i.indexrelid
         where i.indrelid = c.oid) as indexes,
       (select array_agg(pg_get_constraintdef(k.oid) order by 1)
          from pg_constraint k where k.conrelid = c.oid) as constraints,
       (select count(*) from pg_trigger t where t.tgrelid = c.oid) as triggers,
       has_table_privilege('service_role', c.oid, 'select') as readable
  from pg_class c where c.oid = %s
"""


def test_a_rewritten_partition_has_the_shape_of_any_other(history: QueueDriver) -> None:
    log(history, week(6), "free", "pro", user_id=str(uuid.uuid4()))
    before = history.rows(SHAPE, oid(history, name(week(6))))
    keep_house(history)
    assert history.rows(SHAPE, oid(history, name(week(6)))) == before
    # And can be rewritten again.
    history.do("update public.subscription_tiers set log_retention_days = 31 where tier = 'pro'")
    log(history, week(6), None)
    keep_house(history)
    assert history.rows(SHAPE, oid(history, name(week(6)))) == before


def test_the_exchange_does_not_read_the_copy_under_its_lock(history: QueueDriver) -> None:
    log(history, week(6), "free", "pro")
    said: list[str] = []
    history.connection.add_notice_handler(lambda notice: said.append(notice.message_primary or ""))
    history.do("set client_min_messages = 'debug1'")
    keep_house(history)
    assert any(
        f'partition constraint for table "{name(week(6))}" is implied' in line for line in said
    )


def test_a_changed_table_has_the_copy_begun_anew(history: QueueDriver) -> None:
    log(history, week(6), "free", "pro")
    history.do("select private.copy_history('1 second')")
    history.do("alter table public.execution_logs add column added integer default 7")
    try:
        assert keep_house(history)["rewritten"] == name(week(6))
        assert [r["added"] for r in history.rows("select added from public.execution_logs")] == [7]
    finally:
        history.do("alter table public.execution_logs drop column added")


def test_a_partition_that_is_dropped_takes_its_copy_along(history: QueueDriver) -> None:
    log(history, week(6), "free", "pro")
    history.do("select private.copy_history('1 second')")
    history.do("update public.subscription_tiers set log_retention_days = 30")
    assert history.value("select private.maintain_partitions()")["rewritten"] == name(week(6))
    log(history, week(7), "free", "pro")
    history.do("select private.begin_rewrite()")
    assert keep_house(history)["dropped"] == [name(week(7))]
    assert history.rows("select * from private.history_rewrites") == []
    assert oid(history, f"{name(week(7))}_rewrite") is None


def test_a_copy_whose_partition_was_dropped_by_hand_is_thrown_away(history: QueueDriver) -> None:
    log(history, week(6), "free", "pro")
    history.do("select private.copy_history('1 second')")
    history.do(f"drop table partitions.{name(week(6))}")
    assert keep_house(history)["rewritten"] is None
    assert history.rows("select * from private.history_rewrites") == []
    assert oid(history, f"{name(week(6))}_rewrite") is None


def test_the_owner_sees_what_stayed_through_row_security(history: QueueDriver) -> None:
    user = history.user("pro")
    log(history, week(6), "free", "pro", user_id=user.id)
    keep_house(history)
    with history.acting_as("authenticated", user.id):
        assert tiers(history) == ["pro"]
    with history.acting_as("authenticated", history.user().id):
        assert tiers(history) == []
