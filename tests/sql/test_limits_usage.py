"""What users see of their limits, and what operators see of the tiers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.sql.driver import QueueDriver, Row, User


def usage(queue: QueueDriver, user: User) -> Row:
    with queue.acting_as("authenticated", user.id):
        answer = queue.value("select public.get_my_usage()")
    assert isinstance(answer, dict)
    return answer


def windows(answer: Row) -> dict[str, dict[str, Any]]:
    return {limit["window"]: limit for limit in answer["limits"]}


def test_a_new_user_has_used_nothing(queue: QueueDriver) -> None:
    answer = usage(queue, queue.user("free"))
    assert answer == {
        "tier": "free",
        "limits": [
            {"window": "hour", "limit": 5, "used": 0, "remaining": 5, "resets_at": None},
            {"window": "day", "limit": 20, "used": 0, "remaining": 20, "resets_at": None},
            {"window": "month", "limit": None, "used": 0, "remaining": None, "resets_at": None},
        ],
        "running": 0,
        "max_running": 1,
        "queued": 0,
        "override_ends_at": None,
    }


def test_a_full_window_says_when_its_next_place_frees(queue: QueueDriver) -> None:
    user = queue.user("free")
    for _ in range(5):
        queue.enqueue(user)
    first = queue.value("select min(accepted_at) from public.rate_limit_tracking")
    answer = usage(queue, user)
    hour, day = windows(answer)["hour"], windows(answer)["day"]
    assert (hour["used"], hour["remaining"]) == (5, 0)
    assert datetime.fromisoformat(hour["resets_at"]) == first + timedelta(hours=1)
    assert (day["used"], day["remaining"], day["resets_at"]) == (5, 15, None)
    assert answer["queued"] == 5


def test_what_is_deferred_is_not_used_yet_but_takes_its_place(queue: QueueDriver) -> None:
    user = queue.user("free")
    for _ in range(7):
        queue.enqueue(user, on_limit="defer")
    hour = windows(usage(queue, user))["hour"]
    assert (hour["used"], hour["remaining"]) == (5, 0)
    third = queue.rows("select accepted_at from public.rate_limit_tracking order by 1")[2]
    assert datetime.fromisoformat(hour["resets_at"]) == third["accepted_at"] + timedelta(hours=1)


def test_usage_names_the_exception_that_holds_and_its_end(queue: QueueDriver) -> None:
    user = queue.user("free")
    ends_at = datetime.now(UTC) + timedelta(days=1)
    queue.do(
        "insert into public.user_limit_overrides (user_id, hour_limit, unlimited, reason, ends_at)"
        " values (%s, 50, '{day_limit}', 'trial', %s)",
        user.id,
        ends_at,
    )
    answer = usage(queue, user)
    assert windows(answer)["hour"]["limit"] == 50
    assert windows(answer)["day"]["limit"] is None
    assert datetime.fromisoformat(answer["override_ends_at"]) == ends_at


def test_usage_asks_for_a_person(queue: QueueDriver) -> None:
    with pytest.raises(psycopg.Error) as caught, queue.acting_as("service_role"):
        queue.do("select public.get_my_usage()")
    assert caught.value.sqlstate == "PT401"


def test_tiers_are_summed_up_for_those_who_may_read_users(queue: QueueDriver) -> None:
    free, pro = queue.user("free"), queue.user("pro")
    queue.instances(1)
    queue.enqueue(free)
    queue.enqueue(pro, run_at=datetime.now(UTC) + timedelta(hours=1))
    queue.claim()
    queue.do(
        "update public.rate_limit_tracking set accepted_at = accepted_at - interval '2 hours'"
        " where user_id = %s",
        pro.id,
    )
    rows = {row["tier"]: row for row in queue.rows("select * from public.get_usage_by_tier()")}
    assert [rows["free"][c] for c in ("accepted_last_hour", "running", "queued")] == [1, 1, 0]
    assert [rows["pro"][c] for c in ("accepted_last_hour", "running", "queued")] == [0, 0, 1]
    assert rows["pro"]["accepted_last_day"] == 1
    assert rows["enterprise"]["accepted_last_day"] == 0
    assert rows["free"]["users"] >= 1
    with pytest.raises(psycopg.Error) as caught, queue.acting_as("authenticated", free.id):
        queue.do("select * from public.get_usage_by_tier()")
    assert caught.value.sqlstate == "PT403"
