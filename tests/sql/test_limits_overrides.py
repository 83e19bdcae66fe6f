"""Tier, exceptions and suspension reach the queue's own row of a user at once, and go again."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.sql.driver import QueueDriver, User


def queue_row(queue: QueueDriver, user: User) -> tuple[Any, ...]:
    [row] = queue.rows(
        "select tier, weight, max_running, suspended from private.user_queue where user_id = %s",
        user.id,
    )
    return tuple(row.values())


def override(queue: QueueDriver, user: User, **columns: Any) -> None:
    values = {"reason": "test", **columns}
    queue.do(
        f"insert into public.user_limit_overrides (user_id, ends_at, {', '.join(values)})"
        f" values (%s, clock_timestamp() + interval '1 hour', {', '.join(['%s'] * len(values))})",
        user.id,
        *values.values(),
    )


def let_end(queue: QueueDriver) -> None:
    """The moment passes; nothing has noticed it yet."""
    queue.do("alter table public.user_limit_overrides disable trigger user")
    queue.do("update public.user_limit_overrides set ends_at = clock_timestamp()")
    queue.do("alter table public.user_limit_overrides enable trigger user")


def test_an_exception_acts_on_the_next_claim_and_ends_with_its_row(queue: QueueDriver) -> None:
    user = queue.user("free")
    queue.enqueue(user)
    override(queue, user, weight=8, max_running=3)
    assert queue_row(queue, user) == ("free", 8, 3, False)
    queue.do("update public.user_limit_overrides set max_running = null")
    assert queue_row(queue, user) == ("free", 8, 1, False)
    queue.do("delete from public.user_limit_overrides")
    assert queue_row(queue, user) == ("free", 1, 1, False)


def test_a_changed_tier_leaves_what_an_exception_says(queue: QueueDriver) -> None:
    user = queue.user("free")
    queue.enqueue(user)
    override(queue, user, weight=8)
    queue.do("update public.user_profiles set tier = 'pro' where user_id = %s", user.id)
    assert queue_row(queue, user) == ("pro", 8, 5, False)
    try:
        queue.do(
            "update public.subscription_tiers set weight = 6, max_running = 7 where tier = 'pro'"
        )
        assert queue_row(queue, user) == ("pro", 8, 7, False)
    finally:
        queue.do(
            "update public.subscription_tiers set weight = 4, max_running = 5 where tier = 'pro'"
        )


def test_a_user_who_is_being_deleted_is_served_like_a_suspended_one(queue: QueueDriver) -> None:
    user = queue.user("free")
    queue.instances(1)
    queue.enqueue(user)
    queue.do(
        "update public.user_profiles set deletion_requested_at = now() where user_id = %s", user.id
    )
    assert queue_row(queue, user) == ("free", 1, 1, True)
    assert queue.claim() == []
    with pytest.raises(psycopg.Error) as caught:
        queue.enqueue(user)
    assert caught.value.sqlstate == "PT403"


def test_a_rescue_with_nothing_to_rescue_removes_exceptions_that_have_ended(
    queue: QueueDriver,
) -> None:
    ended, live = queue.user("free"), queue.user("free")
    for user in (ended, live):
        queue.enqueue(user)
        override(queue, user, weight=8, max_running=3)
    let_end(queue)
    queue.do(
        "update public.user_limit_overrides set ends_at = clock_timestamp() + interval '1 hour'"
        " where user_id = %s",
        live.id,
    )
    queue.rows("select * from public.rescue_expired_executions()")
    assert queue_row(queue, ended) == ("free", 1, 1, False)
    assert queue_row(queue, live) == ("free", 8, 3, False)
    assert queue.value("select count(*) from public.user_limit_overrides") == 1
    assert queue.value("select private.end_overrides()") == 0


def test_an_exception_that_is_being_changed_is_left_alone(queue: QueueDriver) -> None:
    user = queue.user("free")
    queue.enqueue(user)
    override(queue, user, weight=8)
    let_end(queue)
    with psycopg.connect(queue.url) as other:
        other.execute("select 1 from public.user_limit_overrides for update")
        assert queue.value("select private.end_overrides()") == 0
    assert queue.value("select private.end_overrides()") == 1
