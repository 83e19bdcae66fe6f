"""The worker against the real queue, the real gateway and instances that run the real Code.gs."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from flowstate_local import LocalStack
from flowstate_worker.errors import LoopDied
from flowstate_worker.loops.leases import Attempt
from flowstate_worker.signals import Moment
from flowstate_worker.worker import Worker
from tests.faults.world import EFFECTS, World, fresh_world
from tests.worker.waiting import until
from tests.worker.whole import ended, running_worker, settings_for


@pytest.fixture
def world(stack: LocalStack, tmp_path: Path) -> Iterator[World]:
    with fresh_world(stack, tmp_path) as made:
        made.register()
        yield made


def effects(world: World) -> Counter[str]:
    return Counter(row["executionId"] for row in world.simulator.effects())


async def test_what_is_enqueued_is_run_once_and_its_result_is_kept(
    stack: LocalStack, world: World
) -> None:
    ids = [one for _ in range(4) for one in world.enqueue(world.user(), 5)]
    async with running_worker(stack):
        assert set(await ended(world, *ids)) == {"succeeded"}
    assert effects(world) == dict.fromkeys(ids, EFFECTS)
    for one in ids:
        [log] = world.queue.logs(one)
        assert set(log["result"]) == {"send", "note"}
        assert log["usage"]["mail"] == 1


@pytest.mark.parametrize("realtime", [True, False])
async def test_work_that_comes_later_is_found_with_and_without_realtime(
    stack: LocalStack, world: World, realtime: bool
) -> None:
    poll = 30.0 if realtime else 0.2
    async with running_worker(stack, realtime=realtime, poll_max_seconds=poll) as worker:
        if realtime:
            await worker.signals.reached(Moment.SUBSCRIBED)
        await worker.signals.reached(Moment.POLLED, 3)
        [one] = world.enqueue(world.user())
        assert await ended(world, one) == ["succeeded"]
        assert (worker.signals.count(Moment.WOKEN) > 0) is realtime


OUTCOMES: list[tuple[str, str | None, str, int]] = [
    # fault, variant, how the execution ends, how many of its two effects are done
    ("echo_lost", "404", "succeeded", 2),
    ("echo_lost", "bounce", "succeeded", 2),
    ("echo_lost", "timeout", "succeeded", 2),
    ("odd_redirect", "ran", "succeeded", 2),
    ("odd_redirect", "not_run", "succeeded", 2),
    ("login", "redirect", "succeeded", 2),
    ("login", "page", "succeeded", 2),
    ("http_auth", "401", "succeeded", 2),
    ("http_auth", "403", "succeeded", 2),
    ("needs_auth", "page", "succeeded", 2),
    ("needs_auth", "exception", "succeeded", 2),
    ("deployment_missing", None, "succeeded", 2),
    ("function_missing", None, "succeeded", 2),
    ("no_return", None, "dead", 2),
    ("concurrency", "page", "succeeded", 2),
    ("concurrency", "exception", "succeeded", 2),
    ("rate_service", None, "succeeded", 2),
    ("daily_quota", None, "succeeded", 2),
    ("execution_timeout", "before_marker", "failed", 0),
    ("lock", None, "succeeded", 2),
    ("transient", "exception", "dead", 0),  # a mail that may have gone out is never sent again
    ("transient", "page", "succeeded", 2),
    ("script_error", "not_run", "dead", 0),
    ("script_error", "ran", "dead", 2),
    ("flow_error", None, "failed", 0),
    ("http_429", None, "succeeded", 2),
    ("http_5xx", "not_run", "succeeded", 2),
    ("http_5xx", "ran", "succeeded", 2),
    ("network", "not_run", "succeeded", 2),
    ("network", "ran", "succeeded", 2),
    ("client_bug", None, "dead", 0),
    ("first_hop_lost", None, "succeeded", 2),
    ("html_instead_of_json", None, "succeeded", 2),
    ("wrong_execution_id", None, "succeeded", 2),
]


@pytest.mark.parametrize(("category", "variant", "end", "done"), OUTCOMES)
async def test_whatever_happens_to_the_call_the_flow_is_done_at_most_once(
    stack: LocalStack,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    category: str,
    variant: str | None,
    end: str,
    done: int,
) -> None:
    async def pause(self: Attempt, _seconds: float) -> None:
        await asyncio.sleep(0.02)

    monkeypatch.setattr(Attempt, "pause", pause)
    rule: dict[str, Any] = {"count": 1, "ops": ["run"]}
    if variant is not None:
        rule["variant"] = variant
    world.simulator.inject(category, **rule)
    [one] = world.enqueue(world.user())
    async with running_worker(stack):
        assert await ended(world, one) == [end], world.queue.logs(one)
    assert effects(world)[one] == done


async def test_every_fault_at_once_loses_nothing_and_repeats_nothing(
    stack: LocalStack, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def pause(self: Attempt, _seconds: float) -> None:
        await asyncio.sleep(0.02)

    monkeypatch.setattr(Attempt, "pause", pause)
    for category, variant in (
        ("echo_lost", "404"), ("echo_lost", "bounce"), ("concurrency", "page"),
        ("http_5xx", "ran"), ("http_5xx", "not_run"), ("network", "ran"), ("network", "not_run"),
        ("odd_redirect", "ran"), ("wrong_execution_id", "ran"),
    ):  # fmt: skip
        world.simulator.inject(category, variant=variant, probability=0.05)
    user = world.user(max_attempts=25)
    ids = world.enqueue(user, 40)
    async with running_worker(stack):
        assert set(await ended(world, *ids)) == {"succeeded"}
    assert effects(world) == dict.fromkeys(ids, EFFECTS)


async def test_a_running_execution_that_is_cancelled_ends_as_cancelled(
    stack: LocalStack, world: World
) -> None:
    world.simulator.inject("network", variant="timeout", count=1, ops=["run"], ms=1500)
    user = world.user()
    [one] = world.enqueue(user)
    async with running_worker(stack) as worker:
        await worker.signals.reached(Moment.CALL_STARTED)
        with world.queue.acting_as("authenticated", user.id):
            world.queue.do("select public.cancel_flow_execution(%s)", one)
        assert await ended(world, one) == ["cancelled"]


async def test_a_lease_taken_by_somebody_else_ends_the_call_unsaid(
    stack: LocalStack, world: World
) -> None:
    world.simulator.inject("network", variant="timeout", ops=["run"], ms=20_000)
    [one] = world.enqueue(world.user())
    async with running_worker(stack) as worker:
        await worker.signals.reached(Moment.CALL_STARTED)
        world.queue.do(
            "update public.flow_execution_queue set lease_token = gen_random_uuid(),"
            " processor_id = 'another', lease_expires_at = now() + interval '1 hour'"
        )
        await worker.signals.reached(Moment.LEASE_LOST)
        await until(lambda: len(worker.leases) == 0)
        assert worker.signals.count(Moment.STORED) == 0
        assert world.queue.logs(one) == []
    world.queue.empty()


async def test_nothing_is_claimed_beyond_the_workers_own_limit(
    stack: LocalStack, world: World
) -> None:
    world.simulator.inject("network", variant="timeout", ops=["run"], ms=300)
    ids = world.enqueue(world.user(), 12)
    seen = 0
    async with running_worker(stack, max_in_flight=3) as worker:
        while worker.signals.count(Moment.CLAIMED) < len(ids):
            seen = max(seen, len(worker.leases))
            await asyncio.sleep(0.01)
        await ended(world, *ids)
    assert seen == 3


async def test_a_loop_that_dies_takes_the_worker_with_it(stack: LocalStack, world: World) -> None:
    worker = Worker(settings_for(stack))
    running = asyncio.create_task(worker.run())
    await worker.signals.reached(Moment.READY)

    worker.supervisor._loops["rescue"].cancel()
    with pytest.raises(LoopDied, match="rescue") as died:
        await asyncio.wait_for(running, 20)
    assert died.value.exit_code == 1


async def test_whoever_looks_after_the_worker_sees_how_it_is(
    stack: LocalStack, world: World
) -> None:
    [one] = world.enqueue(world.user())
    async with running_worker(stack) as worker, aiohttp.ClientSession() as http:
        await ended(world, one)
        await worker.signals.reached(Moment.STORED)
        base = f"http://127.0.0.1:{worker.status_port}"
        async with http.get(f"{base}/healthz") as response:
            assert response.status == 200
            loops = (await response.json())["checks"]
        assert set(loops) >= {"claimer", "finisher", "lease_keeper", "rescue", "housekeeping"}
        async with http.get(f"{base}/readyz") as response:
            assert response.status == 200
        async with http.get(f"{base}/metrics") as response:
            text = await response.text()
        assert 'flowstate_worker_executions_total{category="ok",outcome="succeeded"} 1.0' in text
        worker.drain()
        async with http.get(f"{base}/readyz") as response:
            assert response.status == 503
            assert (await response.json())["checks"]["not_draining"] is False


async def test_a_drain_waits_for_what_runs_and_claims_no_more(
    stack: LocalStack, world: World
) -> None:
    world.simulator.inject("network", variant="timeout", count=1, ops=["run"], ms=800)
    user = world.user()
    [first] = world.enqueue(user)
    worker = Worker(settings_for(stack))
    running = asyncio.create_task(worker.run())
    await worker.signals.reached(Moment.CALL_STARTED)
    for _ in range(3):
        worker.drain()
    [second] = world.enqueue(user)
    await asyncio.wait_for(running, 30)
    assert world.state(first) == "succeeded"
    assert world.state(second) == "available"
    assert worker.signals.count(Moment.DRAINING) == 1


async def test_after_the_grace_period_a_call_is_left_to_be_asked_for(
    stack: LocalStack, world: World
) -> None:
    world.simulator.inject("network", variant="timeout", count=1, ops=["run"], ms=30_000)
    [one] = world.enqueue(world.user())
    worker = Worker(settings_for(stack, grace_seconds=0.1))
    running = asyncio.create_task(worker.run())
    await until(lambda: effects(world)[one] == EFFECTS)
    worker.drain()
    await asyncio.wait_for(running, 30)
    live = world.queue.live(one)
    assert live is not None
    assert (live["state"], live["attempt"]) == ("scheduled", 0)
    assert live["pinned_instance_id"] is not None
    async with running_worker(stack):
        assert await ended(world, one) == ["succeeded"]
    assert effects(world)[one] == EFFECTS
    assert world.simulator.runs_of(one) <= 1
