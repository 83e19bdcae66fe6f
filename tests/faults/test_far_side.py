"""Every row of the classification table, with the real worker: where the next attempt runs, how the
execution ends, and one effect for one execution.

All cases run side by side in one worker, each execution with a fault of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from flowstate_local import LocalStack
from tests.faults.far_side import CASES, Case
from tests.faults.world import World, fresh_world
from tests.sql.driver import Row

_INSTANCES, _OWNERS = 12, 4


@dataclass(frozen=True)
class Ended:
    """What became of a case's execution."""

    history: list[Row]
    effects: list[Row]
    owners: dict[str, str]

    @property
    def last(self) -> Row:
        return self.history[-1]


@pytest.fixture(scope="module")
def far_side(
    durable_stack: LocalStack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[World, dict[str, Ended]]]:
    with fresh_world(durable_stack, tmp_path_factory.mktemp("far_side")) as world:
        yield world, run_all(world)


def run_all(world: World) -> dict[str, Ended]:
    keys = world.stack.info.instance_keys
    owners = {f"far-{n}": f"far-owner-{n % _OWNERS}@example.com" for n in range(_INSTANCES)}
    for name, owner in owners.items():
        world.simulator.add_instance(name, owner, keys)
    world.register(*owners)
    # Nothing starts before its fault stands.
    world.queue.do("update public.load_balancer_config set paused_at = now()")
    executions: dict[str, str] = {}
    for case in CASES:
        [execution] = world.enqueue(world.user(definition=case.flow))
        variant = {"variant": case.variant} if case.variant else {}
        rule = {**variant, **case.rule, "execution_id": execution, "count": 1}
        world.simulator.inject(case.fault, **rule)
        executions[str(case)] = execution
    world.queue.do("update public.load_balancer_config set paused_at = null")
    world.worker(
        lease_seconds="60",
        heartbeat_seconds="2",
        api_timeout_seconds="15",
        script_seconds="6",
        first_hop_seconds="8",
    )
    # A script that was killed counts as running until nobody could still be at it.
    for case in CASES:
        if not case.fault.startswith("killed"):
            world.wait_ended(executions[str(case)])
    world.simulator.advance_scripts(60)
    return {
        case: Ended(world.wait_ended(execution), world.simulator.effects(execution), owners)
        for case, execution in executions.items()
    }


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_fault_of_the_far_side_ends_as_the_table_says(
    far_side: tuple[World, dict[str, Ended]], case: Case
) -> None:
    ended = far_side[1][str(case)]
    assert ended.last["outcome"] == case.ends
    assert len(ended.effects) == case.effects
    assert not any(effect["duplicate"] for effect in ended.effects)
    assert len({effect["instance"] for effect in ended.effects}) <= 1

    failures = [log["category"] for log in ended.history if log["category"]]
    assert failures == ([case.category] if case.category else [])
    if case.then is None:
        assert len(ended.history) == 1
    else:
        first, second = ended.history
        assert case.then in where(first, second, ended.owners)
        assert second["attempt"] == (2 if case.spent else 1)


def where(first: Row, second: Row, owners: dict[str, str]) -> set[str]:
    """What may be said of the place of the second attempt."""
    if first["instance_name"] == second["instance_name"]:
        return {"same"}
    one, other = owners[first["instance_name"]], owners[second["instance_name"]]
    return {"another"} if one == other else {"another", "another_owner"}


def test_every_kind_of_fault_that_can_be_injected_is_in_the_table(
    far_side: tuple[World, dict[str, Ended]],
) -> None:
    world, _ = far_side
    assert world.simulator.faults() == {case.fault for case in CASES}


def test_after_all_faults_nothing_is_lost_or_doubled(
    far_side: tuple[World, dict[str, Ended]],
) -> None:
    world, _ = far_side
    world.check()
    assert [worker.runs for worker in world.workers] == [True]
