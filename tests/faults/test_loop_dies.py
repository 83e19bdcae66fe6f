"""A background loop that ends takes its worker along, loudly: half a worker would hold leases."""

from __future__ import annotations

from tests.faults.dying_worker import LOOPS
from tests.faults.world import World


def test_a_worker_whose_loop_dies_ends_with_an_error_and_its_execution_is_taken_over(
    world: World,
) -> None:
    world.simulator.inject("slow", variant="effect", ms=1000, ops=["run"], count=len(LOOPS))
    world.enqueue(world.user(), len(LOOPS))
    workers = {
        loop: world.worker(
            command=("-m", "tests.faults.dying_worker", loop), max_in_flight="1", realtime="true"
        )
        for loop in LOOPS
    }
    for loop, dying in workers.items():
        assert dying.ended() == 1
        [died] = dying.events("loop_died")
        assert (died["loop"], died["level"]) == (loop, "critical")
        [ended] = dying.events("ended")
        assert f"the loop '{loop}' ended by itself" in ended["error"]
        assert "restart the worker" in ended["error"]

    world.worker()
    for execution in world.accepted:
        *rescues, last = world.wait_ended(execution)
        assert {log["category"] for log in rescues} == {"lease_expired"}
        assert (last["outcome"], last["attempt"]) == ("succeeded", len(rescues) + 1)
    world.check()
