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
    """Not even while the attempt of another worker runs, and has not yet said anything."""
    [execution] = world.enqueue(world.user())
    proxy.hold("finish_flow_executions")
    late = world.worker(supabase_url=proxy.url, processor_id="late").wait_ready()
    proxy.wait_held()
    late.send(signal.SIGSTOP)
    world.simulator.inject("slow", ms=4000, ops=["result"], execution_id=execution)
    current = world.worker(processor_id="current")
    current.wait_logged("claimed")

    late.send(signal.SIGCONT)
    proxy.pass_on()
    [refused] = late.wait_logged("late_outcome_refused")
    assert (refused["execution_id"], refused["attempt"]) == (execution, 1)
    assert world.state(execution) == "running"
    rescue, done = world.wait_ended(execution)
    assert (rescue["category"], rescue["processor_id"]) == ("lease_expired", "late")
    assert (done["outcome"], done["processor_id"]) == ("succeeded", "current")
    world.check()


def test_a_repeated_outcome_leaves_a_later_attempt_of_the_same_number_alone(
    world: World, proxy: Proxy
) -> None:
    """An attempt that did not run is given back: the next one has its number, not its token."""
    [execution] = world.enqueue(world.user())
    world.simulator.inject("login", execution_id=execution, count=1)
    world.simulator.inject("slow", variant="effect", ms=4000, execution_id=execution)
    proxy.lose_answers("finish_flow_executions")
    proxy.hold("finish_flow_executions", behind=1)
    first = world.worker(
        supabase_url=proxy.url, processor_id="first", max_in_flight="1"
    ).wait_ready()
    proxy.wait_held()
    world.worker(processor_id="second").wait_logged("claimed")
    world.wait_effects(EFFECTS)

    proxy.pass_on()
    first.wait_logged("outcomes_stored")
    assert first.counter("finish_answers_total", answer="already_done") == 1
    assert world.state(execution) == "running"
    unsent, done = world.wait_ended(execution)
    assert (unsent["category"], unsent["attempt"], unsent["processor_id"]) == ("login", 1, "first")
    assert (done["outcome"], done["attempt"], done["processor_id"]) == ("succeeded", 1, "second")
    world.check()
