"""Between worker and API: answers that get lost, refusals, silence. The worker comes back."""

from __future__ import annotations

import json

import httpx
import pytest

from tests.faults.proxy import BUSY, Proxy, reply
from tests.faults.waiting import until
from tests.faults.world import World

_LOOPS = 5  # of a worker, each with at most one request under way


def test_an_outcome_whose_answer_was_lost_is_sent_again_and_recognised(
    world: World, proxy: Proxy
) -> None:
    proxy.lose_answers("finish_flow_executions")
    worker = world.worker(supabase_url=proxy.url).wait_ready()
    [execution] = world.enqueue(world.user())
    proxy.wait_lost("finish_flow_executions")
    world.check()
    assert [log["outcome"] for log in world.queue.logs(execution)] == ["succeeded"]
    worker.wait_logged("outcomes_stored")
    assert worker.counter("finish_answers_total", answer="already_done") == 1
    assert worker.counter("finish_answers_total", answer="lease_lost") == 0


def test_a_claim_whose_answer_was_lost_is_rescued_and_runs_once(world: World, proxy: Proxy) -> None:
    worker = world.worker(supabase_url=proxy.url).wait_ready()
    proxy.lose_answers("claim_flow_executions", 1000)
    [execution] = world.enqueue(world.user())
    until(lambda: world.state(execution) == "running", "the execution is claimed")
    proxy.mend()
    *rescues, last = world.wait_ended(execution)
    assert rescues
    assert (last["outcome"], last["attempt"]) == ("succeeded", len(rescues) + 1)
    assert worker.runs
    world.check()


def test_an_enqueue_whose_answer_was_lost_is_repeated_under_its_key(
    world: World, proxy: Proxy
) -> None:
    proxy.lose_answers("enqueue_flow_executions")
    user = world.user()
    item = {"flow_id": user.flow_id, "input": {"text": "once"}, "idempotency_key": "k"}

    def enqueue() -> httpx.Response:
        return httpx.post(
            f"{proxy.url}/rest/v1/rpc/enqueue_flow_executions",
            json={"items": [item]},
            headers={"apikey": world.stack.info.secret_key},
        )

    with pytest.raises(httpx.HTTPError):
        enqueue()
    [again] = enqueue().json()
    assert again["duplicate"] is True
    world.accepted.append(again["execution_id"])
    world.worker()
    world.check()


def test_an_outcome_outlives_every_answer_that_says_not_now(world: World, proxy: Proxy) -> None:
    def refused(status: int, code: str) -> bytes:
        return reply(status, json.dumps({"code": code, "message": "", "details": None}))

    passing = [
        BUSY,
        refused(400, ""),  # PostgREST's connection broke between two statements
        refused(400, "0A000"),  # a standby that has not taken over yet
        reply(502, "<html>Bad gateway</html>", content_type="text/html"),
        reply(200, "<html>Maintenance</html>", content_type="text/html"),
    ]
    proxy.answer("finish_flow_executions", passing)
    worker = world.worker(supabase_url=proxy.url).wait_ready()
    [execution] = world.enqueue(world.user())
    world.check()
    *_, log = world.queue.logs(execution)
    assert log["outcome"] == "succeeded"
    assert len(worker.events("finish_failed")) == len(passing)
    assert worker.events("outcome_dropped") == worker.events("outcome_refused") == []


@pytest.mark.parametrize("fault", ["refused", "busy", "half-open"])
def test_a_worker_that_cannot_reach_the_api_tries_less_and_less_often_and_recovers(
    world: World, proxy: Proxy, fault: str
) -> None:
    world.simulator.inject("slow", variant="effect", ms=1000, ops=["run"], count=4)
    user = world.user()
    world.enqueue(user, 4)
    worker = world.worker(supabase_url=proxy.url, api_timeout_seconds="1").wait_ready()
    world.wait_effects(4)
    before = proxy.requests.total()
    if fault == "refused":
        proxy.refuse()
    elif fault == "busy":
        proxy.answer_all(BUSY)
    else:
        proxy.half_open()
    worker.wait_logged("rescue_failed", 4 if fault == "half-open" else 12)
    sent = proxy.requests.total() - before
    if fault != "half-open":  # where each try takes as long as its time-out
        # The rescue asks at a steady pace. The claimer backs off, so that it falls behind.
        assert len(worker.events("claim_failed")) < len(worker.events("rescue_failed"))
    # No library below repeats requests by itself: what failed is logged, or still under way.
    failures = [each for each in worker.events() if str(each["event"]).endswith("_failed")]
    assert sent <= len(failures) + _LOOPS

    proxy.mend()
    world.enqueue(user, 4)
    world.check()
    assert worker.runs
