"""Claiming: disjoint, within every limit, in each user's own order, and fair between users."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from tests.sql.driver import QueueDriver, result


def queued(queue: QueueDriver, users: int, each: int, tier: str = "pro") -> list[str]:
    owners = [queue.user(tier) for _ in range(users)]
    answers = queue.enqueue_many([{"flow_id": o.flow_id} for o in owners for _ in range(each)])
    return [str(a["execution_id"]) for a in answers]


def test_a_claim_carries_all_that_a_call_needs(queue: QueueDriver) -> None:
    user = queue.user("pro", deadline_seconds=60)
    queue.instances(1)
    queue.enqueue(user, input={"a": 1})
    [claimed] = queue.claim(processor="worker-1")
    assert claimed["attempt"] == 1
    assert claimed["steps"][0]["type"] == "gmail.search"
    assert claimed["input"] == {"a": 1}
    assert claimed["instance_url"] == "https://script.google.com/macros/s/i-0-0/exec"
    assert (claimed["tier"], claimed["deadline_seconds"], claimed["resume"]) == ("pro", 60, False)
    assert queue.value("select count(*) from public.queue_processors where id = 'worker-1'") == 1
    assert queue.counters_are_true()


def test_an_execution_runs_the_version_it_was_accepted_with(queue: QueueDriver) -> None:
    user = queue.user()
    queue.instances(1)
    queue.enqueue(user)
    queue.do(
        """update public.flows set definition = jsonb_set(definition, '{steps,0,name}', '"other"')
           where id = %s""",
        user.flow_id,
    )
    [claimed] = queue.claim()
    assert claimed["steps"][0]["name"] == "find"


def test_many_claimers_get_disjoint_executions_within_all_limits(queue: QueueDriver) -> None:
    executions = queued(queue, users=40, each=10)
    queue.instances(2, 2, 1, slots=12, owner_slots=20)

    def claim(n: int) -> list[dict[str, Any]]:
        other = QueueDriver(queue.url)
        try:
            return [row for _ in range(4) for row in other.claim(7, processor=f"p{n}")]
        finally:
            other.close()

    with ThreadPoolExecutor(8) as pool:
        claimed = [row for rows in pool.map(claim, range(8)) for row in rows]
    ids = [str(row["execution_id"]) for row in claimed]
    assert len(ids) == len(set(ids))
    assert set(ids) <= set(executions)
    # Two owners of 20, and one instance of 12.
    assert len(ids) == 52
    assert max(Counter(row["instance_id"] for row in claimed).values()) <= 12
    assert max(Counter(row["instance_owner"] for row in claimed).values()) <= 20
    assert max(Counter(row["user_id"] for row in claimed).values()) <= 5
    assert queue.counters_are_true()


def test_calls_in_flight_never_exceed_the_global_limit(queue: QueueDriver) -> None:
    queued(queue, users=10, each=5)
    queue.instances(2, 2)
    queue.do("update public.load_balancer_config set global_max_in_flight = 7")
    first = queue.claim()
    assert len(first) == 7
    assert queue.claim() == []
    queue.finish(*(result(row, "succeeded") for row in first[:3]))
    assert len(queue.claim()) == 3


@pytest.mark.parametrize(("tier", "running"), [("free", 1), ("pro", 5), ("enterprise", 20)])
def test_a_user_never_runs_more_at_once_than_the_tier_allows(
    queue: QueueDriver, tier: str, running: int
) -> None:
    queue.instances(2, 2)
    queued(queue, users=1, each=min(running + 5, 30) if tier != "free" else 5, tier=tier)
    first = queue.claim()
    assert len(first) == running
    assert queue.claim() == []
    queue.finish(result(first[0], "succeeded"))
    assert len(queue.claim()) == 1


def test_load_is_spread_over_instances_by_weight(queue: QueueDriver) -> None:
    ids = queue.instances(1, 1, 1, slots=28)
    queue.do("update public.apps_script_instances set weight = 2 where id = %s", ids[0])
    queued(queue, users=20, each=2)
    shares = Counter(str(row["instance_id"]) for row in queue.claim())
    assert shares == {ids[0]: 20, ids[1]: 10, ids[2]: 10}


@pytest.mark.parametrize(
    "change",
    [
        "update public.apps_script_instances set state = 'draining'",
        "update public.apps_script_instances set state = 'disabled'",
        "update public.apps_script_instances set breaker_state = 'open'",
        "update public.apps_script_owners set set_aside_until = now() + interval '1 hour'",
        "update public.load_balancer_config set paused_at = now()",
        "update public.user_profiles set suspended_at = now()",
    ],
)
def test_nothing_is_claimed_when_nothing_may_run(queue: QueueDriver, change: str) -> None:
    queue.instances(2)
    queued(queue, users=1, each=1)
    queue.do(change)
    assert queue.claim() == []
    queue.do("update public.user_profiles set suspended_at = null")


def test_priority_orders_a_users_own_executions_only(queue: QueueDriver) -> None:
    queue.instances(1)
    loud, quiet = queue.user(), queue.user()
    low = queue.enqueue(loud, priority=-5)["execution_id"]
    high = queue.enqueue(loud, priority=100)["execution_id"]
    other = queue.enqueue(quiet, priority=-100)["execution_id"]
    assert {str(row["execution_id"]) for row in queue.claim(2)} == {high, other}
    assert low not in {str(row["execution_id"]) for row in queue.claim()}


def test_a_lone_execution_is_served_beside_a_backlog_within_one_round(queue: QueueDriver) -> None:
    queue.instances(1, slots=2)
    queued(queue, users=1, each=100, tier="enterprise")
    for row in queue.claim(2):
        queue.finish(result(row, "succeeded"))
    lone = queue.enqueue(queue.user("free"))["execution_id"]
    served: list[str] = []
    for _ in range(10):
        rows = queue.claim(2)
        served += [str(row["execution_id"]) for row in rows]
        queue.finish(*(result(row, "succeeded") for row in rows))
    # One round of active users: 16 of the enterprise user to one of the free user.
    assert lone in served[:18]


def test_what_is_due_is_claimed_and_what_is_not_waits(queue: QueueDriver) -> None:
    queue.instances(1)
    user = queue.user("pro")
    queue.enqueue(user)
    answer = queue.enqueue_many([{"flow_id": user.flow_id, "run_at": "2026-11-21T00:00:00Z"}])
    assert answer[0]["state"] == "available"
    queue.do(
        "update public.flow_execution_queue"
        " set state = 'scheduled', run_at = now() - interval '1 second'"
    )
    queue.do("update private.user_queue set available = 0")
    assert len(queue.claim()) == 2
    assert queue.counters_are_true()


def test_a_retry_avoids_the_instance_that_failed_unless_it_is_the_only_one(
    queue: QueueDriver,
) -> None:
    queue.do("update public.load_balancer_config set retry_base_seconds = 0")
    queue.instances(2)
    queue.enqueue(queue.user())
    [first] = queue.claim()
    queue.finish(result(first, "failed", retry_on="another", error={"category": "login"}))
    [second] = [row for _ in range(20) for row in queue.claim()][:1]
    assert second["instance_id"] != first["instance_id"]
    queue.finish(result(second, "failed", retry_on="another", error={"category": "login"}))
    queue.do(
        "update public.apps_script_instances set state = 'disabled' where id = %s",
        first["instance_id"],
    )
    [third] = queue.claim()
    assert third["instance_id"] == second["instance_id"]


@pytest.mark.parametrize("most", [1, 100])
@pytest.mark.parametrize("retry_on", ["another", "same"])
def test_a_retry_finds_its_place_although_one_instance_always_looks_the_least_loaded(
    queue: QueueDriver, retry_on: str, most: int
) -> None:
    queue.do("update public.load_balancer_config set retry_base_seconds = 0")
    heavy, light = queue.instances(1, 1)
    weigh = "update public.apps_script_instances set weight = 1000 where id = %s"
    queue.do(weigh, heavy if retry_on == "another" else light)
    queue.enqueue(queue.user())
    [first] = queue.claim(most)
    queue.do("update public.apps_script_instances set weight = 1")
    queue.do(weigh, heavy)
    queue.finish(result(first, "failed", retry_on=retry_on, error={"category": "login"}))
    [second] = queue.claim(most)
    assert str(second["instance_id"]) == light


def test_executions_bound_to_an_instance_that_is_away_hold_no_other_user_up(
    queue: QueueDriver,
) -> None:
    queue.do("update public.load_balancer_config set retry_base_seconds = 0")
    away, _ = queue.instances(1, 1)
    queue.do("update public.apps_script_instances set weight = 1000 where id = %s", away)
    queued(queue, users=12, each=1)
    held = queue.claim()
    queue.finish(*(result(r, "failed", retry_on="same", error={"category": "x"}) for r in held))
    queue.do("update public.apps_script_instances set state = 'disabled' where id = %s", away)
    # This user has been served more than those who wait for their instance.
    user = queue.user("pro")
    for _ in range(3):
        execution = queue.enqueue(user)["execution_id"]
        [served] = queue.claim(5)
        assert str(served["execution_id"]) == execution
        queue.finish(result(served, "succeeded"))


def test_retries_that_avoid_an_instance_stay_within_every_limit(queue: QueueDriver) -> None:
    queue.do("update public.load_balancer_config set retry_base_seconds = 0")
    heavy, *_ = queue.instances(1, 1, 1, slots=10, owner_slots=5)
    queue.do("update public.apps_script_instances set weight = 1000 where id = %s", heavy)
    queued(queue, users=15, each=2)
    claimed = queue.claim()
    assert len(claimed) == 15
    queue.finish(
        *(result(r, "failed", retry_on="another", error={"category": "x"}) for r in claimed)
    )
    queue.do("update public.load_balancer_config set global_max_in_flight = 12")
    again = [row for _ in range(5) for row in queue.claim(7)]
    assert len(again) == 12
    assert max(Counter(row["instance_id"] for row in again).values()) <= 5
    before = {row["execution_id"]: row["instance_id"] for row in claimed}
    assert all(before.get(row["execution_id"]) != row["instance_id"] for row in again)
    assert queue.counters_are_true()


def test_what_may_have_run_goes_back_to_its_instance_and_holds_nobody_up(
    queue: QueueDriver,
) -> None:
    queue.do("update public.load_balancer_config set retry_base_seconds = 0")
    queue.instances(3)
    user = queue.user("free")
    queue.enqueue(user)
    [first] = queue.claim()
    queue.finish(result(first, "failed", retry_on="same", error={"category": "network"}))
    other = queue.enqueue(user)["execution_id"]
    queue.do(
        "update public.apps_script_instances set state = 'disabled' where id = %s",
        first["instance_id"],
    )
    [bypass] = queue.claim()
    assert str(bypass["execution_id"]) == other
    queue.finish(result(bypass, "succeeded"))
    assert queue.claim() == []
    queue.do("update public.apps_script_instances set state = 'active'")
    [again] = queue.claim()
    assert (again["execution_id"], again["instance_id"]) == (
        first["execution_id"],
        first["instance_id"],
    )
    assert (again["attempt"], again["resume"]) == (2, True)


@pytest.mark.parametrize(
    ("processor", "most", "lease", "field"),
    [
        ("", 1, 30, "processor_id"),
        (None, 1, 30, "processor_id"),
        ("p" * 201, 1, 30, "processor_id"),
        ("p", 0, 30, "max"),
        ("p", 1001, 30, "max"),
        ("p", None, 30, "max"),
        ("p", 1, 0, "lease_seconds"),
        ("p", 1, 3601, "lease_seconds"),
    ],
)
def test_bad_arguments_of_a_claim_are_refused_by_name(
    queue: QueueDriver, processor: Any, most: Any, lease: Any, field: str
) -> None:
    with pytest.raises(psycopg.Error, match=f"^{field} must be") as caught:
        queue.claim(most, processor, lease)
    assert caught.value.sqlstate == "PT400"
