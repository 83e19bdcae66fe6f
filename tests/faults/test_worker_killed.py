"""Workers that end without a word: what they held is rescued, and nothing is done twice."""

from __future__ import annotations

import pytest

from tests.faults.waiting import until
from tests.faults.world import EFFECTS, World
from tests.sql.driver import Row


def attempts_are_consecutive(logs: list[Row]) -> bool:
    return [log["attempt"] for log in logs] == list(range(1, len(logs) + 1))


@pytest.mark.parametrize("in_the_middle_of", ["claim", "effect"])
def test_what_a_killed_worker_held_is_taken_over_and_done_once(
    world: World, in_the_middle_of: str
) -> None:
    """The call goes on alone: others see it before its effects, or behind the first."""
    world.simulator.inject("slow", variant=in_the_middle_of, ms=2500, ops=["run"])
    executions = [world.enqueue(world.user())[0] for _ in range(4)]
    first = world.worker().wait_ready()
    world.wait_effects(len(executions) * EFFECTS)
    first.kill()

    second = world.worker()
    for execution in executions:
        *rescues, last = world.wait_ended(execution)
        assert [log["category"] for log in rescues] == ["lease_expired"] * len(rescues)
        assert rescues
        assert attempts_are_consecutive([*rescues, last])
        assert last["outcome"] == "succeeded"
        # Only the instance where it may have run can tell; it is asked, and runs nothing again.
        assert {log["instance_name"] for log in rescues} == {last["instance_name"]}
        assert world.simulator.runs_of(execution) == 1
    world.check()
    assert second.runs


def test_a_request_that_arrives_after_the_execution_was_done_again_does_nothing(
    world: World,
) -> None:
    """The first request is on its way for so long that the instance knows of nothing yet."""
    world.simulator.delay_calls(6)
    [execution] = world.enqueue(world.user())
    first = world.worker().wait_ready()
    until(lambda: world.simulator.summary()["in_flight"], "the call is on its way")
    first.kill()
    world.simulator.delay_calls(0)

    world.worker()
    *_, last = world.wait_ended(execution)
    assert last["outcome"] == "succeeded"
    until(lambda: world.simulator.runs_of(execution) == 2, "the first request has arrived")
    world.check()


def test_a_call_that_kills_its_worker_each_time_becomes_a_dead_letter_and_others_go_on(
    world: World,
) -> None:
    world.simulator.inject("slow", variant="effect", ms=60_000, ops=["run"], count=1)
    [bad] = world.enqueue(world.user(max_attempts=2))
    # First it runs, then a second worker asks for the result of a run that is still under way.
    for ended_by_us, op in ((0, "run"), (1, "result")):
        worker = world.worker().wait_ready()
        wait_begun(world, bad, op)
        [good] = world.enqueue(world.user())
        assert world.wait_ended(good)[-1]["outcome"] == "succeeded"
        assert len(world.queue.logs(bad)) == ended_by_us
        worker.kill()
    world.worker()
    rescues = world.wait_ended(bad)
    assert [(log["outcome"], log["category"]) for log in rescues] == [
        ("failed", "lease_expired"),
        ("dead", "lease_expired"),
    ]
    [letter] = world.queue.rows("select * from public.dead_letters")
    assert (str(letter["execution_id"]), letter["attempts"]) == (bad, 2)
    world.check()


def wait_begun(world: World, execution_id: str, op: str) -> None:
    """Waits until an instance has been asked to run the execution, or for its result."""

    def begun() -> bool:
        if op == "run":
            return bool(world.simulator.effects(execution_id))
        calls = world.simulator.calls()
        return any((call["op"], call["executionId"]) == (op, execution_id) for call in calls)

    until(begun, f"the poisonous call: {op}")


def test_slots_of_a_killed_worker_come_back(world: World) -> None:
    world.queue.do("update public.load_balancer_config set global_max_in_flight = 2")
    world.simulator.inject("slow", variant="effect", ms=1500, ops=["run"], count=2)
    world.enqueue(world.user(), 2)
    first = world.worker().wait_ready()
    world.wait_effects(2 * EFFECTS)
    first.kill()
    world.enqueue(world.user(), 4)
    world.worker()
    world.check()
    assert world.queue.value("select public.get_queue_status()")["in_flight"] == 0
