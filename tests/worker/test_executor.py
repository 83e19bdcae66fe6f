"""One attempt: when it runs the flow, when it asks for a result instead, and what it concludes."""

import asyncio
from random import Random
from typing import Any

import pytest
from aiohttp import web

from flowstate_worker.clients.apps_script import AppsScriptClient
from flowstate_worker.loops import executor as executor_module
from flowstate_worker.loops.executor import Executor
from flowstate_worker.loops.leases import Attempt, End
from flowstate_worker.rules.models import ClaimedExecution, FinishItem, Outcome, RetryOn
from flowstate_worker.signals import Moment, Signals
from tests.worker.builders import attempt, execution
from tests.worker.fake_instance import FakeInstance
from tests.worker.test_apps_script_client import answer, hang
from tests.worker.waiting import until


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between questions are passed over; a request to cancel still counts."""

    async def pause(self: Attempt, _seconds: float) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(Attempt, "pause", pause)


@pytest.fixture
def signals() -> Signals:
    return Signals()


@pytest.fixture
def executor(client: AppsScriptClient, signals: Signals) -> Executor:
    return Executor(client, rng=Random(1), signals=signals)


def ops(instance: FakeInstance) -> list[str]:
    return [request["op"] for request in instance.requests]


async def outcome(executor: Executor, claimed: ClaimedExecution) -> FinishItem:
    item = await executor.attempt(attempt(claimed))
    assert item is not None
    return item


async def test_a_flow_that_runs_is_a_success(executor: Executor, instance: FakeInstance) -> None:
    item = await outcome(executor, execution(instance_url=instance.url))
    assert (item.outcome, item.result) == (Outcome.SUCCEEDED, {"step": {"ran": True}})
    assert ops(instance) == ["run"]


async def test_a_lost_answer_is_asked_for_and_the_flow_is_not_run_again(
    executor: Executor, instance: FakeInstance
) -> None:
    instance.on_echo = [answer(status=404)] * 4
    item = await outcome(executor, execution(instance_url=instance.url))
    assert item.outcome is Outcome.SUCCEEDED
    assert ops(instance) == ["run", "result"]
    assert len(instance.effects) == 1


@pytest.mark.parametrize("status", [500, 502, 503])
async def test_after_a_server_error_the_result_is_asked_for(
    executor: Executor, instance: FakeInstance, status: int
) -> None:
    async def runs_and_fails(_request: web.Request) -> web.Response:
        instance.good_exec(instance.requests[-1])
        return web.Response(status=status)

    instance.on_exec = [runs_and_fails]
    item = await outcome(executor, execution(instance_url=instance.url))
    assert item.outcome is Outcome.SUCCEEDED
    assert len(instance.effects) == 1


async def test_an_unclear_run_that_the_instance_does_not_know_stays_with_that_instance(
    executor: Executor, instance: FakeInstance
) -> None:
    instance.on_exec = [answer(status=502)]
    item = await outcome(executor, execution(instance_url=instance.url))
    assert (item.outcome, item.retry, item.retry_on) == (Outcome.FAILED, True, RetryOn.SAME)
    assert item.error is not None
    assert item.error["code"] == "absent"


async def test_an_instance_that_says_nothing_at_all_is_asked_three_times(
    executor: Executor, instance: FakeInstance
) -> None:
    instance.on_exec = [answer(status=502)] * 9
    item = await outcome(executor, execution(instance_url=instance.url))
    assert ops(instance) == ["run", "result", "result", "result"]
    assert (item.category, item.retry_on) == ("http_5xx", RetryOn.SAME)


async def test_failing_to_ask_does_not_turn_an_unclear_run_into_one_that_did_not_happen(
    executor: Executor, instance: FakeInstance
) -> None:
    # Each of these alone would say: it did not run, another instance may.
    instance.on_exec = [answer(status=502), answer(status=429), answer(status=403)]
    instance.on_exec.append(answer(text="too many scripts running simultaneously"))
    item = await outcome(executor, execution(instance_url=instance.url))
    assert (item.category, item.retry_on, item.spend_attempt) == ("http_5xx", RetryOn.SAME, True)


async def test_a_run_under_way_is_waited_for(executor: Executor, instance: FakeInstance) -> None:
    claimed = execution(instance_url=instance.url)
    key = str(claimed.execution_id)

    async def still_running(_request: web.Request) -> web.Response:
        return instance.redirect_to(instance.envelope(key, status="in_progress", result=None))

    async def done(_request: web.Request) -> web.Response:
        return instance.redirect_to(instance.envelope(key))

    instance.on_exec = [*[still_running] * 6, done]
    item = await outcome(executor, claimed)
    assert item.outcome is Outcome.SUCCEEDED
    assert ops(instance) == ["run", *["result"] * 6]


async def test_a_run_that_never_ends_is_left_for_a_later_question(
    client: AppsScriptClient, instance: FakeInstance
) -> None:
    claimed = execution(instance_url=instance.url)
    clock = iter(range(0, 100_000, 50))
    executor = Executor(
        client, rng=Random(1), signals=Signals(), monotonic=lambda: float(next(clock))
    )

    async def still_running(_request: web.Request) -> web.Response:
        return instance.redirect_to(
            instance.envelope(str(claimed.execution_id), status="in_progress", result=None)
        )

    instance.on_exec = [still_running] * 50
    item = await outcome(executor, claimed)
    assert (item.category, item.retry, item.retry_on) == ("still_running", True, RetryOn.SAME)


async def test_a_resumed_attempt_asks_first_and_takes_the_result(
    executor: Executor, instance: FakeInstance
) -> None:
    claimed = execution(instance_url=instance.url, resume=True, attempt=2)
    instance.results[str(claimed.execution_id)] = instance.envelope(str(claimed.execution_id))
    item = await outcome(executor, claimed)
    assert item.outcome is Outcome.SUCCEEDED
    assert ops(instance) == ["result"]
    assert instance.effects == []


async def test_a_resumed_attempt_runs_what_the_instance_never_began(
    executor: Executor, instance: FakeInstance
) -> None:
    item = await outcome(executor, execution(instance_url=instance.url, resume=True, attempt=2))
    assert item.outcome is Outcome.SUCCEEDED
    assert ops(instance) == ["result", "run"]


async def test_a_resumed_attempt_goes_on_with_a_run_that_stopped_half_way(
    executor: Executor, instance: FakeInstance
) -> None:
    claimed = execution(instance_url=instance.url, resume=True, attempt=2)

    async def stopped(_request: web.Request) -> web.Response:
        return instance.redirect_to(
            instance.failure(str(claimed.execution_id), "transient", code="RUN_DIED", ran="partial")
        )

    instance.on_exec = [stopped]
    assert (await outcome(executor, claimed)).outcome is Outcome.SUCCEEDED
    assert ops(instance) == ["result", "run"]


@pytest.mark.parametrize(
    ("kind", "code", "category"),
    [("user", "BAD_RECIPIENT", "flow_error"), ("internal", "NEEDS_REVIEW", "needs_review")],
)
async def test_a_resumed_attempt_does_not_run_again_what_has_ended_for_good(
    executor: Executor, instance: FakeInstance, kind: str, code: str, category: str
) -> None:
    claimed = execution(instance_url=instance.url, resume=True, attempt=2)

    async def ended(_request: web.Request) -> web.Response:
        return instance.redirect_to(
            instance.failure(str(claimed.execution_id), kind, code=code, ran="partial")
        )

    instance.on_exec = [ended]
    item = await outcome(executor, claimed)
    assert (item.category, item.retry) == (category, False)
    assert ops(instance) == ["result"]


async def test_a_resumed_attempt_without_an_answer_does_not_run(
    executor: Executor, instance: FakeInstance
) -> None:
    instance.on_exec = [answer(status=503)] * 9
    item = await outcome(executor, execution(instance_url=instance.url, resume=True, attempt=2))
    assert "run" not in ops(instance)
    assert (item.retry, item.retry_on) == (True, RetryOn.SAME)


async def test_a_resumed_attempt_that_is_refused_stays_with_its_instance(
    executor: Executor, instance: FakeInstance
) -> None:
    claimed = execution(instance_url=instance.url, resume=True, attempt=2)
    absent = instance.failure(
        str(claimed.execution_id), "internal", code="UNKNOWN_EXECUTION", ran="none"
    )

    async def unknown(_request: web.Request) -> web.Response:
        return instance.redirect_to(absent)

    instance.on_exec = [unknown, answer(status=429)]
    item = await outcome(executor, claimed)
    assert (item.category, item.retry_on) == ("http_429", RetryOn.SAME)


@pytest.mark.parametrize(
    ("fields", "category", "retry"),
    [
        ({"flow_kind": "fax"}, "unknown_flow_kind", False),
        ({"instance_key_id": "k9"}, "unknown_key", True),
        ({"instance_url": "https://169.254.169.254/x"}, "address_refused", True),
    ],
)
async def test_what_cannot_be_called_is_not_called(
    executor: Executor, instance: FakeInstance, fields: dict[str, Any], category: str, retry: bool
) -> None:
    item = await outcome(executor, execution(**{"instance_url": instance.url, **fields}))
    assert (item.category, item.retry, item.spend_attempt) == (category, retry, False)
    assert instance.requests == []


async def test_no_call_is_begun_on_a_lease_that_may_be_over(
    executor: Executor, instance: FakeInstance
) -> None:
    late = attempt(execution(instance_url=instance.url), leased_until=0.0)
    assert await executor.attempt(late) is None
    assert instance.requests == []


async def test_a_lost_lease_ends_the_call_and_says_nothing(
    executor: Executor, instance: FakeInstance, signals: Signals
) -> None:
    instance.on_exec = [hang]
    one = attempt(execution(instance_url=instance.url))
    running = asyncio.create_task(executor.attempt(one))
    await signals.reached(Moment.CALL_STARTED)
    one.end = End.LOST
    running.cancel()
    assert await running is None


async def test_a_drained_call_keeps_its_instance_and_costs_no_attempt(
    executor: Executor, instance: FakeInstance, signals: Signals
) -> None:
    instance.on_exec = [hang]
    one = attempt(execution(instance_url=instance.url))
    running = asyncio.create_task(executor.attempt(one))
    await signals.reached(Moment.CALL_STARTED)
    one.end = End.DRAINED
    running.cancel()
    item = await running
    assert item is not None
    assert (item.outcome, item.category) == (Outcome.FAILED, "drained")
    assert (item.retry, item.retry_on, item.spend_attempt) == (True, RetryOn.SAME, False)


async def test_an_attempt_drained_before_its_call_is_given_back(
    executor: Executor, instance: FakeInstance
) -> None:
    instance.on_exec = [hang]
    one = attempt(execution(instance_url=instance.url, resume=True))
    running = asyncio.create_task(executor.attempt(one))
    await until(lambda: instance.requests)
    one.end = End.DRAINED
    running.cancel()
    item = await running
    assert item is not None
    assert item.outcome is Outcome.RELEASED
    assert ops(instance) == ["result"]


async def test_a_cancelled_execution_is_not_begun(
    executor: Executor, instance: FakeInstance
) -> None:
    one = attempt(execution(instance_url=instance.url))
    one.request_cancel()
    item = await executor.attempt(one)
    assert item is not None
    assert (item.category, item.retry) == ("cancelled", False)
    assert instance.requests == []


async def test_a_cancelled_execution_is_not_asked_for_again(
    executor: Executor, instance: FakeInstance
) -> None:
    one = attempt(execution(instance_url=instance.url))

    async def fails(_request: web.Request) -> web.Response:
        one.request_cancel()
        return web.Response(status=502)

    instance.on_exec = [fails]
    item = await executor.attempt(one)
    assert item is not None
    assert item.category == "cancelled"
    assert ops(instance) == ["run"]


async def test_a_defect_of_the_worker_is_an_outcome_of_the_attempt(
    executor: Executor, instance: FakeInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_unknown: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(executor_module, "_absent", broken)
    instance.on_exec = [answer(status=502)]
    item = await outcome(executor, execution(instance_url=instance.url))
    assert (item.category, item.retry, item.retry_on) == ("worker_error", True, RetryOn.SAME)
