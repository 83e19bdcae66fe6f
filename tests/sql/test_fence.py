"""The fence: who ends, extends or releases an attempt must hold its lease."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.sql.driver import QueueDriver, Row, lease, result

Verb = Callable[[QueueDriver, Row], list[Row]]


def succeed(queue: QueueDriver, claimed: Row) -> list[Row]:
    return queue.finish(result(claimed, "succeeded", result={"n": 1}))


def fail(queue: QueueDriver, claimed: Row) -> list[Row]:
    return queue.finish(result(claimed, "failed", error={"category": "http_5xx"}))


def snooze(queue: QueueDriver, claimed: Row) -> list[Row]:
    return queue.finish(result(claimed, "snoozed", snooze_seconds=60))


def release(queue: QueueDriver, claimed: Row) -> list[Row]:
    return queue.rows("select * from public.release_flow_executions(%s)", Jsonb([lease(claimed)]))


def extend(queue: QueueDriver, claimed: Row) -> list[Row]:
    return queue.rows(
        "select * from public.heartbeat_flow_executions('p1', 30, %s)", Jsonb([lease(claimed)])
    )


ENDING: list[Verb] = [succeed, fail, snooze, release]


def one_running(queue: QueueDriver) -> Row:
    queue.instances(1)
    queue.enqueue(queue.user())
    [claimed] = queue.claim()
    return claimed


def run_again_elsewhere(queue: QueueDriver) -> Row:
    """The lease runs out, the execution is rescued, and another processor claims it."""
    queue.expire_leases()
    queue.do("select public.rescue_expired_executions()")
    [claimed] = queue.claim(processor="p2")
    return claimed


@pytest.mark.parametrize("verb", [*ENDING, extend])
def test_a_late_verb_of_a_rescued_attempt_changes_nothing(queue: QueueDriver, verb: Verb) -> None:
    late = one_running(queue)
    current = run_again_elsewhere(queue)
    before = queue.live(current["execution_id"])
    [answer] = verb(queue, late)
    # It was ended by the rescue, not by a call whose answer got lost: its holder has to hear that.
    assert answer["answer"] == "lease_lost"
    assert queue.live(current["execution_id"]) == before
    assert succeed(queue, current)[0]["answer"] == "accepted"
    assert [log["outcome"] for log in queue.logs(current["execution_id"])] == [
        "failed",
        "succeeded",
    ]


@pytest.mark.parametrize("verb", [*ENDING, extend])
@pytest.mark.parametrize(
    "wrong",
    [{"lease_token": str(uuid.uuid4())}, {"attempt": 2}, {"execution_id": str(uuid.uuid4())}],
)
def test_a_wrong_fence_is_a_lost_lease(queue: QueueDriver, verb: Verb, wrong: Row) -> None:
    claimed = one_running(queue)
    [answer] = verb(queue, {**claimed, **wrong})
    assert answer["answer"] == "lease_lost"
    row = queue.live(claimed["execution_id"])
    assert row is not None
    assert row["state"] == "running"


@pytest.mark.parametrize("verb", ENDING)
def test_a_repeated_call_is_recognised_as_done(queue: QueueDriver, verb: Verb) -> None:
    claimed = one_running(queue)
    assert verb(queue, claimed)[0]["answer"] == "accepted"
    assert verb(queue, claimed)[0]["answer"] == "already_done"
    assert queue.counters_are_true()


def test_the_same_item_twice_in_a_batch_counts_once(queue: QueueDriver) -> None:
    claimed = one_running(queue)
    item = result(claimed, "succeeded")
    queue.finish(item, item)
    assert len(queue.logs(claimed["execution_id"])) == 1
    assert queue.counters_are_true()


def test_a_heartbeat_extends_all_leases_of_its_processor_and_no_other(queue: QueueDriver) -> None:
    queue.instances(1)
    for _ in range(2):
        queue.enqueue(queue.user())
    [mine] = queue.claim(1, "p1")
    [other] = queue.claim(1, "p2")
    queue.do(
        "update public.flow_execution_queue set lease_expires_at = now() + interval '1 second'"
    )
    answers = queue.rows("select * from public.heartbeat_flow_executions('p1', 600)")
    assert [(str(a["execution_id"]), a["answer"]) for a in answers] == [
        (str(mine["execution_id"]), "extended")
    ]
    assert queue.value(
        "select lease_expires_at < now() + interval '1 minute'"
        " from public.flow_execution_queue where id = %s",
        other["execution_id"],
    )


def test_of_a_rescue_and_a_completion_exactly_one_wins(queue: QueueDriver) -> None:
    for _ in range(10):
        queue.empty()
        claimed = one_running(queue)
        queue.expire_leases()
        barrier = threading.Barrier(2)
        answers: dict[str, Any] = {}

        def rescue(barrier: threading.Barrier = barrier, answers: dict[str, Any] = answers) -> None:
            other = QueueDriver(queue.url)
            barrier.wait()
            answers["rescued"] = other.rows("select * from public.rescue_expired_executions()")
            other.close()

        thread = threading.Thread(target=rescue)
        thread.start()
        barrier.wait()
        [answer] = succeed(queue, claimed)
        thread.join()
        assert (answer["answer"] == "accepted") != bool(answers["rescued"])
        assert len(queue.logs(claimed["execution_id"])) == 1
        assert queue.counters_are_true()


def test_concurrent_finishes_heartbeats_and_rescues_never_deadlock(queue: QueueDriver) -> None:
    # Failed ones are due again at once, so that claims promote while others finish.
    queue.do("update public.load_balancer_config set retry_base_seconds = 0")
    queue.instances(4, 4, slots=28)
    users = [queue.user("pro") for _ in range(10)]
    queue.enqueue_many([{"flow_id": u.flow_id} for u in users for _ in range(20)])
    errors: list[BaseException] = []

    def work(n: int) -> None:
        other = QueueDriver(queue.url)
        try:
            for _ in range(8):
                rows = other.claim(20, f"p{n}")
                # Batches arrive in any order; the functions sort before they lock.
                rows.sort(key=lambda row: str(row["lease_token"]))
                other.rows("select * from public.heartbeat_flow_executions(%s, 30)", f"p{n}")
                other.rows("select * from public.rescue_expired_executions()")
                outcomes = ("succeeded", "failed", "released")
                other.finish(*(result(r, outcomes[i % 3]) for i, r in enumerate(rows)))
        except psycopg.Error as error:
            errors.append(error)
        finally:
            other.close()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert queue.counters_are_true()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"execution_id": "x"}, "execution_id"),
        ({"lease_token": None}, "lease_token"),
        ({"attempt": "one"}, "attempt"),
        ({"outcome": "great"}, "outcome"),
        ({"retry_on": "moon"}, "retry_on"),
        ({"retry_after_seconds": -1}, "retry_after_seconds"),
        ({"retry_after_seconds": "soon"}, "retry_after_seconds"),
        ({"duration_ms": -5}, "duration_ms"),
        ({"retry": "yes"}, "retry"),
        ({"error": "text"}, "error"),
    ],
)
def test_a_malformed_item_refuses_the_batch_and_names_the_field(
    queue: QueueDriver, change: Row, field: str
) -> None:
    claimed = one_running(queue)
    with pytest.raises(psycopg.Error, match=rf"results\[1\]: {field}") as caught:
        queue.finish(result(claimed, "succeeded"), {**result(claimed, "failed"), **change})
    assert caught.value.sqlstate == "PT400"
    assert queue.live(claimed["execution_id"]) is not None
