"""A worker that is stopped for longer than its lease: what it says later is too late."""

from __future__ import annotations

import signal

from tests.faults.proxy import Proxy
from tests.faults.waiting import until
from tests.faults.world import EFFECTS, World


def test_what_a_suspended_worker_held_is_done_by_another_and_the_first_lets_go(
    world: World,
) -> None:
    world.simulator.inject("slow", variant="effect", ms=1000, ops=["run"], count=1)
    [execution] = world.enqueue(world.user())
    suspended = world.worker().wait_ready()
    world.wait_effects(EFFECTS)
    suspended.send(signal.SIGSTOP)

    world.worker()
    history = world.wait_ended(execution)
    suspended.send(signal.SIGCONT)
    # Heartbeat or outcome, whichever comes first, hears that the lease is lost.
    told = until(
        lambda: suspended.events("lease_lost") + suspended.events("late_outcome_refused"),
        "the suspended worker hears that it lost its lease",
        told=suspended.told,
    )
    assert {event["execution_id"] for event in told} == {execution}
    assert world.queue.logs(execution) == history
    world.check()
    # It is as good as any other worker again.
    assert suspended.runs


def test_a_late_outcome_is_refused_and_logged(world: World, proxy: Proxy) -> None:
    [execution] = world.enqueue(world.user())
    proxy.hold("finish_flow_executions")
    late = world.worker(supabase_url=proxy.url).wait_ready()
    proxy.wait_held()
    late.send(signal.SIGSTOP)

    world.worker()
    history = world.wait_ended(execution)
    assert history[-1]["outcome"] == "succeeded"
    late.send(signal.SIGCONT)
    proxy.pass_on()
    [refused] = late.wait_logged("late_outcome_refused")
    assert (refused["execution_id"], refused["attempt"]) == (execution, 1)
    assert world.queue.logs(execution) == history
    world.check()
