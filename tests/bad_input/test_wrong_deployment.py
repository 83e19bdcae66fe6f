"""Deployments that are not what their row says: another script, another secret, another name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flowstate_local import LocalStack
from tests.faults.world import EFFECTS, World, fresh_world

OWNER = "new-owner@example.com"


@pytest.fixture
def world(stack: LocalStack, tmp_path: Path) -> Iterator[World]:
    with fresh_world(stack, tmp_path) as world:
        yield world


def test_without_an_answer_about_the_execution_itself_there_is_no_success(world: World) -> None:
    """Somebody's own script answers in place of ours, and says that all is well."""
    world.register("local-1")
    [execution] = world.enqueue(world.user(max_attempts=2))
    world.simulator.inject("wrong_execution_id", execution_id=execution)
    worker = world.worker(lease_seconds="30")
    logs = world.wait_ended(execution)
    assert [(log["outcome"], log["category"]) for log in logs] == [
        ("failed", "foreign_answer"),
        ("dead", "foreign_answer"),
    ]
    assert "belongs to another execution" in logs[-1]["error"]["message"]
    assert logs[-1]["result"] is None
    # It ran once: the second attempt asked, and was not answered either.
    assert len(world.simulator.effects(execution)) == EFFECTS
    assert world.simulator.runs_of(execution) == 1
    world.check()
    assert worker.runs


@pytest.mark.parametrize(
    ("mistake", "says"), [("another secret", "HMAC_<kid>"), ("another name", "INSTANCE_NAME")]
)
def test_a_deployment_that_refuses_our_signature_is_passed_over_and_named(
    world: World, mistake: str, says: str
) -> None:
    keys = world.stack.info.instance_keys
    if mistake == "another secret":
        keys = dict.fromkeys(keys, "not the secret that the worker has")
    world.simulator.add_instance("new-1", OWNER, keys)
    world.register("local-1")
    world.register("new-1", weight=1000)  # the least loaded, so that it is called first
    if mistake == "another name":
        world.queue.do(
            "update public.apps_script_instances set name = 'renamed' where name = 'new-1'"
        )
    worker = world.worker()
    [execution] = world.enqueue(world.user())
    refused, done = world.wait_ended(execution)
    assert refused["category"] == "signature_refused"
    assert says in refused["error"]["message"]
    assert (done["outcome"], done["attempt"], done["instance_name"]) == ("succeeded", 1, "local-1")
    world.check()
    assert "not the secret" not in worker.log.read_text()
