"""How attempts end: history, retries, dead letters, cancellation, rescue."""

from __future__ import annotations

import uuid
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.sql.driver import QueueDriver, Row, lease, result


def one_running(queue: QueueDriver, **flow: Any) -> Row:
    queue.instances(1)
    queue.enqueue(queue.user(**flow), input={"secret": 1})
    [claimed] = queue.claim()
    return claimed


def test_a_success_moves_the_execution_to_history_in_one_step(queue: QueueDriver) -> None:
    claimed = one_running(queue)
    queue.finish(
        result(
            claimed, "succeeded", result={"find": {"count": 3}}, usage={"gmail": 2}, duration_ms=12
        )
    )
    assert queue.live(claimed["execution_id"]) is None
    [log] = queue.logs(claimed["execution_id"])
    assert (log["outcome"], log["is_final"], log["attempt"]) == ("succeeded", True, 1)
    assert log["result"] == {"find": {"count": 3}}
    assert (log["usage"], log["duration_ms"], log["instance_name"]) == ({"gmail": 2}, 12, "i-0-0")
    assert queue.counters_are_true()


def test_a_failure_is_tried_again_after_its_back_off(queue: QueueDriver) -> None:
    claimed = one_running(queue)
    queue.finish(
        result(
            claimed,
            "failed",
            error={"category": "http_429"},
            retry_after_seconds=40,
            retry_on="any",
        )
    )
    row = queue.live(claimed["execution_id"])
    assert row is not None
    assert (row["state"], row["attempt"]) == ("scheduled", 1)
    assert row["last_error"] == {"category": "http_429"}
    assert queue.value(
        "select run_at between now() + interval '35 seconds' and now() + interval '60 seconds'"
        " from public.flow_execution_queue"
    )
    [log] = queue.logs(claimed["execution_id"])
    assert (log["outcome"], log["is_final"]) == ("failed", False)


def test_after_the_last_attempt_it_is_a_dead_letter_with_its_first_and_last_error(
    queue: QueueDriver,
) -> None:
    queue.do("update public.load_balancer_config set retry_base_seconds = 0")
    claimed = one_running(queue, max_attempts=2)
    queue.finish(result(claimed, "failed", error={"category": "http_5xx", "n": 1}))
    [second] = queue.claim()
    assert second["attempt"] == 2
    [answer] = queue.finish(result(second, "failed", error={"category": "http_5xx", "n": 2}))
    assert answer["state"] == "dead"
    [letter] = queue.rows("select * from public.dead_letters")
    assert (letter["first_error"]["n"], letter["last_error"]["n"]) == (1, 2)
    assert (letter["attempts"], letter["input"]) == (2, {"secret": 1})
    assert [log["outcome"] for log in queue.logs(claimed["execution_id"])] == ["failed", "dead"]
    assert queue.counters_are_true()


@pytest.mark.parametrize(("user_error", "state"), [(True, "failed"), (False, "dead")])
def test_what_cannot_be_retried_ends_at_once(
    queue: QueueDriver, user_error: bool, state: str
) -> None:
    claimed = one_running(queue)
    [answer] = queue.finish(result(claimed, "failed", retry=False, user_error=user_error))
    assert answer["state"] == state
    assert queue.value("select count(*) from public.dead_letters") == (state == "dead")


def test_an_attempt_that_did_not_run_is_given_back(queue: QueueDriver) -> None:
    queue.do("update public.load_balancer_config set retry_base_seconds = 0")
    claimed = one_running(queue, max_attempts=1)
    for _ in range(3):
        queue.finish(result(claimed, "failed", spend_attempt=False, retry_on="any"))
        [claimed] = queue.claim()
        assert claimed["attempt"] == 1


def test_attempts_are_not_given_back_without_end(queue: QueueDriver) -> None:
    claimed = one_running(queue, max_attempts=1)
    queue.do("update public.flow_execution_queue set unspent_retries = 50")
    [answer] = queue.finish(result(claimed, "failed", spend_attempt=False))
    assert answer["state"] == "dead"


def test_a_release_gives_the_attempt_back_and_leaves_no_log(queue: QueueDriver) -> None:
    claimed = one_running(queue)
    [answer] = queue.rows(
        "select * from public.release_flow_executions(%s, 'drain')", Jsonb([lease(claimed)])
    )
    assert (answer["answer"], answer["state"]) == ("accepted", "available")
    assert queue.logs(claimed["execution_id"]) == []
    [again] = queue.claim()
    assert again["attempt"] == 1
    assert again["lease_token"] != claimed["lease_token"]


def test_a_snoozed_execution_sleeps_without_spending_an_attempt(queue: QueueDriver) -> None:
    claimed = one_running(queue)
    queue.finish(result(claimed, "snoozed", snooze_seconds=3600))
    row = queue.live(claimed["execution_id"])
    assert row is not None
    assert (row["state"], row["attempt"]) == ("scheduled", 0)
    assert queue.claim() == []


def test_an_expired_lease_is_rescued_to_the_instance_where_it_may_have_run(
    queue: QueueDriver,
) -> None:
    claimed = one_running(queue)
    assert queue.rows("select * from public.rescue_expired_executions()") == []
    queue.expire_leases()
    [rescued] = queue.rows("select * from public.rescue_expired_executions()")
    assert (rescued["execution_id"], rescued["state"]) == (claimed["execution_id"], "available")
    [again] = queue.claim()
    assert (again["attempt"], again["resume"]) == (2, True)
    assert again["instance_id"] == claimed["instance_id"]
    assert queue.logs(claimed["execution_id"])[0]["category"] == "lease_expired"


def test_what_kills_every_processor_becomes_a_dead_letter(queue: QueueDriver) -> None:
    one_running(queue, max_attempts=2)
    for state in ("available", "dead"):
        queue.expire_leases()
        [rescued] = queue.rows("select * from public.rescue_expired_executions()")
        assert rescued["state"] == state
        queue.claim()
    assert queue.value("select count(*) from public.dead_letters") == 1


def cancel(queue: QueueDriver, execution_id: Any, user_id: str) -> Row:
    with queue.acting_as("authenticated", user_id):
        answer = queue.value("select public.cancel_flow_execution(%s)", execution_id)
    assert isinstance(answer, dict)
    return answer


def test_a_queued_execution_is_cancelled_at_once(queue: QueueDriver) -> None:
    user = queue.user()
    execution_id = queue.enqueue(user)["execution_id"]
    assert cancel(queue, execution_id, user.id)["state"] == "cancelled"
    assert queue.live(execution_id) is None
    assert queue.logs(execution_id)[0]["outcome"] == "cancelled"
    assert cancel(queue, execution_id, user.id)["state"] == "cancelled"
    assert queue.counters_are_true()


def test_a_running_execution_is_told_with_the_heartbeat_and_its_late_answer_is_only_recorded(
    queue: QueueDriver,
) -> None:
    claimed = one_running(queue)
    assert cancel(queue, claimed["execution_id"], str(claimed["user_id"]))["state"] == "cancelling"
    [beat] = queue.rows("select * from public.heartbeat_flow_executions('p1', 30)")
    assert (beat["answer"], beat["cancel_requested"]) == ("extended", True)
    [answer] = queue.finish(result(claimed, "succeeded", result={"late": True}))
    assert answer["state"] == "cancelled"
    [log] = queue.logs(claimed["execution_id"])
    assert (log["outcome"], log["result"]) == ("cancelled", {"late": True})


def test_an_execution_of_another_user_can_be_neither_cancelled_nor_seen(queue: QueueDriver) -> None:
    user, stranger = queue.user(), queue.user()
    execution_id = queue.enqueue(user)["execution_id"]
    for call in ("cancel_flow_execution", "get_flow_execution_status"):
        for wanted in (execution_id, str(uuid.uuid4())):
            with (
                pytest.raises(psycopg.Error, match="no execution") as caught,
                queue.acting_as("authenticated", stranger.id),
            ):
                queue.do(f"select public.{call}(%s)", wanted)
            assert caught.value.sqlstate == "PT404"


def test_status_follows_an_execution_from_queue_to_history(queue: QueueDriver) -> None:
    user = queue.user("free")
    queue.instances(1)
    first, second = (queue.enqueue(user)["execution_id"] for _ in range(2))

    def status(execution_id: str) -> Row:
        with queue.acting_as("authenticated", user.id):
            answer = queue.value("select public.get_flow_execution_status(%s)", execution_id)
        assert isinstance(answer, dict)
        return answer

    assert (status(second)["state"], status(second)["position"]) == ("available", 2)
    [claimed] = queue.claim()
    assert status(first)["state"] == "running"
    # One runs at once on the free tier: the other waits.
    assert (status(second)["state"], status(second)["position"]) == ("waiting", 1)
    queue.finish(result(claimed, "succeeded", result={"n": 1}))
    assert (status(first)["state"], status(first)["result"]) == ("succeeded", {"n": 1})
    assert status(second)["state"] == "available"


def test_the_queue_at_a_glance(queue: QueueDriver) -> None:
    queue.instances(1)
    user = queue.user("free")
    queue.enqueue(user)
    queue.enqueue(user)
    queue.claim()
    status = queue.value("select public.get_queue_status()")
    assert status["states"] == {"running": 1, "waiting": 1}
    assert status["tiers"] == {"free": {"running": 1, "waiting": 1}}
    assert (status["in_flight"], status["instances"][0]["in_flight"]) == (1, 1)
    assert status["processors"][0]["id"] == "p1"
