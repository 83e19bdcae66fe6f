"""Heartbeats: all leases in one call, and what their answers bring back."""

import asyncio
from random import Random
from typing import Any

import pytest
from aiohttp import web

from flowstate_worker.clients.queue_client import QueueClient
from flowstate_worker.loops.lease_keeper import LeaseKeeper
from flowstate_worker.loops.leases import End, LeaseBook
from flowstate_worker.metrics import Metrics
from flowstate_worker.signals import Moment, Signals
from tests.worker.builders import attempt, execution
from tests.worker.fake_api import FakeApi, answered, refuse

HEARTBEAT = "heartbeat_flow_executions"


@pytest.fixture
def leases() -> LeaseBook:
    return LeaseBook(10)


@pytest.fixture
def signals() -> Signals:
    return Signals()


@pytest.fixture
def keeper(queue: QueueClient, leases: LeaseBook, signals: Signals) -> LeaseKeeper:
    return LeaseKeeper(
        queue,
        leases,
        lease_seconds=60,
        heartbeat_seconds=0.05,
        metrics=Metrics(),
        signals=signals,
        rng=Random(1),
        monotonic=lambda: 100.0,
    )


async def test_all_leases_are_extended_in_one_call(
    keeper: LeaseKeeper, leases: LeaseBook, api: FakeApi
) -> None:
    attempts = [attempt(leased_until=0.0) for _ in range(3)]
    for one in attempts:
        leases.add(one)
    await keeper.beat()
    [call] = api.named(HEARTBEAT)
    assert call["leases"] == [one.proof.wire() for one in attempts]
    assert [one.leased_until for one in attempts] == [160.0] * 3


async def test_a_lost_lease_ends_the_call_and_the_others_go_on(
    keeper: LeaseKeeper, leases: LeaseBook, api: FakeApi, signals: Signals
) -> None:
    lost, kept = attempt(), attempt()
    for one in (lost, kept):
        leases.add(one)
        one.runner = asyncio.create_task(asyncio.Event().wait())  # type: ignore[arg-type]

    async def one_lost(params: dict[str, Any]) -> web.Response:
        first, second = params["leases"]
        return web.json_response([answered(first, "lease_lost"), answered(second, "extended")])

    api.on[HEARTBEAT] = [one_lost]
    await keeper.beat()
    assert (lost.end, kept.end) == (End.LOST, None)
    assert signals.count(Moment.LEASE_LOST) == 1
    assert lost.runner is not None
    assert kept.runner is not None
    with pytest.raises(asyncio.CancelledError):
        await lost.runner
    assert not kept.runner.done()
    kept.runner.cancel()


async def test_a_lease_that_ended_with_its_outcome_is_not_lost(
    keeper: LeaseKeeper, leases: LeaseBook, api: FakeApi, signals: Signals
) -> None:
    stored = attempt(has_outcome=True)
    leases.add(stored)

    async def gone(params: dict[str, Any]) -> web.Response:
        return web.json_response([answered(params["leases"][0], "lease_lost")])

    api.on[HEARTBEAT] = [gone]
    await keeper.beat()
    assert stored.end is None
    assert signals.count(Moment.LEASE_LOST) == 0


async def test_a_request_to_cancel_reaches_the_attempt_and_ends_its_pause(
    keeper: LeaseKeeper, leases: LeaseBook, api: FakeApi
) -> None:
    one = attempt()
    leases.add(one)
    pausing = asyncio.create_task(one.pause(3600))
    await asyncio.sleep(0)

    async def cancel(params: dict[str, Any]) -> web.Response:
        return web.json_response([answered(params["leases"][0], "extended", cancel_requested=True)])

    api.on[HEARTBEAT] = [cancel]
    await keeper.beat()
    await asyncio.wait_for(pausing, 5)
    assert one.cancel_requested


async def test_two_attempts_of_one_execution_are_told_apart(
    keeper: LeaseKeeper, leases: LeaseBook, api: FakeApi
) -> None:
    # An attempt that was not spent comes back under the same number, with another token.
    claimed = execution()
    old = attempt(claimed)
    new = attempt(claimed.model_copy(update={"lease_token": execution().lease_token}))
    leases.add(old)
    leases.add(new)

    async def old_is_lost(params: dict[str, Any]) -> web.Response:
        first, second = params["leases"]
        return web.json_response([answered(first, "lease_lost"), answered(second, "extended")])

    api.on[HEARTBEAT] = [old_is_lost]
    await keeper.beat()
    assert (old.end, new.end) == (End.LOST, None)


async def test_heartbeats_go_on_after_errors_and_without_leases(
    keeper: LeaseKeeper, api: FakeApi, signals: Signals
) -> None:
    api.on[HEARTBEAT] = [refuse(503, "PGRST001"), refuse(401, "PGRST301")]
    running = asyncio.create_task(keeper.run())
    await signals.reached(Moment.HEARTBEAT, 2)
    running.cancel()
    assert len(api.named(HEARTBEAT)) >= 4
