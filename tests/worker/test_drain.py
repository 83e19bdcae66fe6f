"""The end of a worker, moment by moment, against small servers that hold an answer back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from flowstate_worker.errors import OutcomesNotStored
from flowstate_worker.rules.models import ClaimedExecution
from flowstate_worker.settings import load_settings
from flowstate_worker.signals import Moment
from flowstate_worker.worker import Worker
from tests.worker.builders import execution
from tests.worker.fake_api import FakeApi, refuse, rows
from tests.worker.fake_instance import KID, SECRET, FakeInstance
from tests.worker.test_apps_script_client import hang as hang_instance
from tests.worker.waiting import until
from tests.worker.whole import QUICK

CLAIM, FINISH = "claim_flow_executions", "finish_flow_executions"


@asynccontextmanager
async def started(
    api: FakeApi, instance: FakeInstance, **overrides: Any
) -> AsyncIterator[tuple[Worker, asyncio.Task[None]]]:
    """A worker, and the running of it, which the test brings to its end."""
    settings = load_settings(
        **{
            "supabase_url": api.url,
            "service_key": "sb_secret_tests",
            "instance_keys": {KID: SECRET},
            "exec_hosts": instance.host,
            "echo_hosts": instance.host,
            "realtime": False,
            **QUICK,
            **overrides,
        }
    )
    worker = Worker(settings)
    running = asyncio.create_task(worker.run())
    try:
        yield worker, running
    finally:
        worker.drain()
        await asyncio.wait({running})


@pytest.fixture
def claimed(instance: FakeInstance) -> ClaimedExecution:
    return execution(instance_url=instance.url)


def outcomes(api: FakeApi) -> list[dict[str, Any]]:
    return [item for call in api.named(FINISH) for item in call["results"]]


async def test_what_a_claim_brings_after_the_signal_is_given_back(
    api: FakeApi, instance: FakeInstance, claimed: ClaimedExecution
) -> None:
    answer = asyncio.Event()

    async def late(params: dict[str, Any]) -> web.Response:
        await answer.wait()
        return await rows(claimed.model_dump(mode="json"))(params)

    api.on[CLAIM] = [late]
    async with started(api, instance) as (worker, running):
        await until(lambda: api.named(CLAIM))
        worker.drain()
        answer.set()
        await asyncio.wait_for(running, 20)
    [item] = outcomes(api)
    assert (item["outcome"], item["lease_token"]) == ("released", str(claimed.lease_token))
    assert instance.requests == []
    assert len(api.named(CLAIM)) == 1


async def test_a_call_that_outlives_the_grace_period_is_not_given_back(
    api: FakeApi, instance: FakeInstance, claimed: ClaimedExecution
) -> None:
    api.on[CLAIM] = [rows(claimed.model_dump(mode="json"))]
    instance.on_exec = [hang_instance]
    async with started(api, instance, grace_seconds=0.0) as (worker, running):
        await worker.signals.reached(Moment.CALL_STARTED)
        worker.drain()
        await asyncio.wait_for(running, 20)
    [item] = outcomes(api)
    assert (item["outcome"], item["error"]["category"]) == ("failed", "drained")
    assert (item["retry_on"], item["spend_attempt"]) == ("same", False)


async def test_outcomes_that_cannot_be_stored_in_time_are_told_with_the_exit_code(
    api: FakeApi, instance: FakeInstance, claimed: ClaimedExecution
) -> None:
    api.on[CLAIM] = [rows(claimed.model_dump(mode="json"))]
    api.always[FINISH] = refuse(503, "PGRST001")
    async with started(api, instance, grace_seconds=0.0, flush_seconds=0.3) as (worker, running):
        await until(lambda: api.named(FINISH))
        worker.drain()
        with pytest.raises(OutcomesNotStored, match="could not be stored: 1") as raised:
            await asyncio.wait_for(running, 20)
    assert raised.value.exit_code == 1


async def test_an_unreadable_row_ends_for_good_and_the_worker_goes_on(
    api: FakeApi, instance: FakeInstance, claimed: ClaimedExecution
) -> None:
    broken = {**execution().model_dump(mode="json"), "instance_url": None}
    api.on[CLAIM] = [rows(broken, claimed.model_dump(mode="json"))]
    async with started(api, instance) as (worker, _running):
        await worker.signals.reached(Moment.STORED, 2)
    by_id = {item["execution_id"]: item for item in outcomes(api)}
    assert by_id[str(claimed.execution_id)]["outcome"] == "succeeded"
    refused = by_id[broken["execution_id"]]
    assert (refused["error"]["category"], refused["retry"]) == ("malformed_claim", False)


async def test_a_worker_told_to_end_before_it_is_registered_ends(
    api: FakeApi, instance: FakeInstance
) -> None:
    api.always["register_queue_processor"] = refuse(503, "PGRST001")
    async with started(api, instance) as (worker, running):
        await until(lambda: api.named("register_queue_processor"))
        worker.drain()
        await asyncio.wait_for(running, 20)
    assert api.named(CLAIM) == []


async def test_the_api_is_not_asked_in_a_hurry_while_it_does_not_answer(
    api: FakeApi, instance: FakeInstance
) -> None:
    api.always[CLAIM] = refuse(503, "PGRST001")
    async with started(api, instance, poll_min_seconds=0.001) as (_worker, running):
        await asyncio.wait({running}, timeout=1.0)
    assert 1 <= len(api.named(CLAIM)) <= 8  # 0.2 s, doubling; a poll would have asked far more
