"""Outcomes are kept until the queue has answered each of them, and none can block the others."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from flowstate_worker.clients.queue_client import QueueClient
from flowstate_worker.loops.finisher import Finisher
from flowstate_worker.loops.leases import Attempt, LeaseBook
from flowstate_worker.metrics import Metrics
from flowstate_worker.rules.models import Breaker, FinishItem, Outcome
from flowstate_worker.signals import Moment, Signals
from tests.worker.builders import attempt
from tests.worker.fake_api import FakeApi, answered, hang, refuse
from tests.worker.waiting import until

FINISH = "finish_flow_executions"


class Bench:
    """A finisher that runs, and what surrounds it."""

    def __init__(self, queue: QueueClient) -> None:
        self.leases = LeaseBook(1000)
        self.signals = Signals()
        self.metrics = Metrics()
        self.finisher = Finisher(
            queue,
            self.leases,
            metrics=self.metrics,
            signals=self.signals,
            batch=50,
            tick_seconds=0.005,
            capacity=20,
        )

    async def finish(self, result: Any = None, times: int = 1) -> list[Attempt]:
        attempts = [attempt() for _ in range(times)]
        for one in attempts:
            self.leases.add(one)
            item = FinishItem(
                proof=one.proof, outcome=Outcome.SUCCEEDED, result=result, breaker=Breaker.SUCCESS
            )
            await self.finisher.put(one, item)
        return attempts

    def counted(self, answer: str) -> float:
        name = "flowstate_worker_finish_answers_total"
        return self.metrics.registry.get_sample_value(name, {"answer": answer}) or 0.0


@pytest.fixture
async def bench(queue: QueueClient) -> AsyncIterator[Bench]:
    made = Bench(queue)
    running = asyncio.create_task(made.finisher.run())
    yield made
    running.cancel()


async def test_outcomes_that_come_while_a_batch_is_sent_go_together(
    bench: Bench, api: FakeApi
) -> None:
    await bench.finish(times=15)
    await bench.signals.reached(Moment.STORED, 15)
    sizes = [len(call["results"]) for call in api.named(FINISH)]
    assert sum(sizes) == 15
    assert len(sizes) < 15
    assert len(bench.leases) == 0


async def test_an_outcome_is_sent_until_there_is_an_answer(bench: Bench, api: FakeApi) -> None:
    api.on[FINISH] = [
        refuse(503, "PGRST001"), refuse(401, "PGRST301"), hang(), refuse(404, "PGRST202"),
        refuse(500, "40001"), refuse(405, "25006"),
    ]  # fmt: skip
    [one] = await bench.finish()
    await bench.signals.reached(Moment.STORED)
    assert len(api.named(FINISH)) == 7
    assert {call["results"][0]["lease_token"] for call in api.named(FINISH)} == {
        str(one.proof.lease_token)
    }


async def test_a_repeated_outcome_that_was_stored_already_is_done(
    bench: Bench, api: FakeApi
) -> None:
    async def done(params: dict[str, Any]) -> web.Response:
        return web.json_response([answered(item, "already_done") for item in params["results"]])

    api.on[FINISH] = [hang(), done]
    await bench.finish()
    await bench.signals.reached(Moment.STORED)
    assert (bench.counted("already_done"), len(bench.leases)) == (1.0, 0)


async def test_a_late_outcome_is_refused_and_let_go(bench: Bench, api: FakeApi) -> None:
    async def lost(params: dict[str, Any]) -> web.Response:
        return web.json_response([answered(item, "lease_lost") for item in params["results"]])

    api.on[FINISH] = [lost]
    await bench.finish()
    await bench.signals.reached(Moment.LEASE_LOST)
    await bench.finisher.flushed()
    assert (bench.counted("lease_lost"), len(bench.leases)) == (1.0, 0)
    assert len(api.named(FINISH)) == 1


async def test_one_outcome_that_the_api_refuses_does_not_block_the_others(
    bench: Bench, api: FakeApi
) -> None:
    async def picky(params: dict[str, Any]) -> web.Response:
        if any(item.get("result") == "poison" for item in params["results"]):
            return await refuse(400, "22P05", "unsupported Unicode escape sequence")(params)
        return web.json_response([answered(item, "accepted") for item in params["results"]])

    api.always[FINISH] = picky
    good = await bench.finish("fine", times=6)
    [bad] = await bench.finish("poison")
    good += await bench.finish("fine", times=6)
    await bench.signals.reached(Moment.STORED, 13)

    accepted = [
        item
        for call in api.named(FINISH)
        if not any(i.get("result") == "poison" for i in call["results"])
        for item in call["results"]
    ]
    assert {item["lease_token"] for item in accepted} == {
        str(one.proof.lease_token) for one in [*good, bad]
    }
    [ending] = [i for i in accepted if i["lease_token"] == str(bad.proof.lease_token)]
    assert (ending["outcome"], ending["error"]["category"]) == ("failed", "result_refused")
    assert (ending["retry"], ending["user_error"]) == (False, True)


async def test_an_outcome_that_is_refused_in_every_form_is_left_to_the_rescue(
    bench: Bench, api: FakeApi
) -> None:
    api.on[FINISH] = [refuse(400, "22P05")] * 2
    await bench.finish("poison")
    await bench.finisher.flushed()
    assert len(bench.leases) == 0
    await bench.finish("fine")
    await bench.signals.reached(Moment.STORED, 2)


async def test_a_batch_that_only_brings_server_errors_is_split(bench: Bench, api: FakeApi) -> None:
    async def overwhelmed(params: dict[str, Any]) -> web.Response:
        if len(params["results"]) > 2:
            return await refuse(500, "57014", "canceling statement due to statement timeout")({})
        return web.json_response([answered(item, "accepted") for item in params["results"]])

    api.on[FINISH] = [hang()]
    api.always[FINISH] = overwhelmed
    await bench.finish(times=9)
    await bench.signals.reached(Moment.STORED, 9)
    assert bench.counted("accepted") == 9.0


async def test_a_result_above_the_limit_is_the_users_error(bench: Bench, api: FakeApi) -> None:
    await bench.finish("x" * 95_000)
    await bench.signals.reached(Moment.STORED)
    [item] = api.named(FINISH)[0]["results"]
    assert item["error"]["category"] == "result_too_large"
    assert "result" not in item


async def test_large_results_are_spread_over_several_calls(bench: Bench, api: FakeApi) -> None:
    bench.finisher._batch_bytes = 200_000
    await bench.finish("x" * 90_000, times=7)
    await bench.signals.reached(Moment.STORED, 7)
    assert max(len(call["results"]) for call in api.named(FINISH)) <= 2


async def test_when_nothing_can_be_stored_no_more_is_taken(bench: Bench, api: FakeApi) -> None:
    api.always[FINISH] = refuse(503, "PGRST001")
    filling = asyncio.create_task(bench.finish(times=200))
    await until(lambda: len(api.named(FINISH)) >= 3)
    assert not filling.done()
    assert len(bench.leases) <= 20 + 50 + 1  # what waits, what is being sent, and who waits
    del api.always[FINISH]
    await filling
    await bench.signals.reached(Moment.STORED, 200)
