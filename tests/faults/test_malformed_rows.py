"""Rows that no check let in: a clear error each, and the worker goes on with the others."""

from __future__ import annotations

from typing import Any

import pytest
from psycopg.types.json import Jsonb

from tests.faults.world import SEND, World
from tests.sql.driver import Row

SEND_STEP: Row = SEND["steps"][0]
LATER: Row = {"name": "later", "type": "transform", "args": {"template": "{{nothing.here}}"}}

# A definition, how its execution ends, the error's category, code and step, and what it says.
DEFINITIONS: dict[str, tuple[Any, str, str, str | None, str | None, str]] = {
    "unknown step": (
        {"steps": [{**SEND_STEP, "type": "gmail.shred"}]},
        *("failed", "flow_error", "UNKNOWN_STEP_TYPE", "send", "type of step does not exist"),
    ),
    "missing argument": (
        {"steps": [{**SEND_STEP, "args": {"subject": "s", "body": "b"}}]},
        *("failed", "flow_error", "BAD_ARGUMENT", "send", "to is required"),
    ),
    "unknown argument": (
        {"steps": [{**SEND_STEP, "args": {**SEND_STEP["args"], "too": "x"}}]},
        *("failed", "flow_error", "BAD_ARGUMENT", "send", "too is no argument of gmail.send"),
    ),
    "unknown path": (
        {"steps": [LATER]},
        *("failed", "flow_error", "UNKNOWN_PATH", "later", "nothing.here, which does not exist"),
    ),
    "too many steps": (
        {"steps": [{**LATER, "name": f"n{n}"} for n in range(21)]},
        *("failed", "flow_error", "BAD_STEPS", None, "steps must be a list of 1 to 20"),
    ),
    "a step that is null": (
        {"steps": [None]},
        *("failed", "flow_error", "BAD_STEP_NAME", None, "step 0 needs a unique name"),
    ),
    "steps that are text": (
        {"steps": "send"},
        *("dead", "malformed_claim", "malformed_claim", None, "cannot read"),
    ),
    "no steps": (
        {},
        *("dead", "malformed_claim", "malformed_claim", None, "cannot read"),
    ),
    "no object": (
        7,
        *("dead", "malformed_claim", "malformed_claim", None, "cannot read"),
    ),
}


def test_a_malformed_definition_is_a_clear_error_and_the_worker_lives(world: World) -> None:
    executions = {}
    for name, (definition, *_) in DEFINITIONS.items():
        user = world.user()
        world.queue.do(
            "update public.flow_versions set definition = %s where flow_id = %s",
            *(Jsonb(definition), user.flow_id),
        )
        [executions[name]] = world.enqueue(user)
    worker = world.worker()
    for name, (_, ends, category, code, step, says) in DEFINITIONS.items():
        [log] = world.wait_ended(executions[name])
        error = log["error"]
        assert (name, log["outcome"]) == (name, ends)
        assert (error["category"], error["code"], error["step"]) == (category, code, step)
        assert says in error["message"]
    [good] = world.enqueue(world.user())
    assert world.wait_ended(good)[-1]["outcome"] == "succeeded"
    world.check()
    assert worker.runs
    assert "Traceback" not in worker.log.read_text()


@pytest.mark.parametrize(
    ("column", "value", "category", "says"),
    [
        ("key_id", "k9", "unknown_key", "FLOWSTATE_INSTANCE_KEYS"),
        ("url", "https://192.0.2.1/macros/s/x/exec", "address_refused", "allow-list"),
    ],
)
def test_an_instance_that_cannot_be_called_is_passed_over(
    world: World, column: str, value: str, category: str, says: str
) -> None:
    # It is offered first, since it looks the least loaded.
    world.queue.do("update public.load_balancer_config set allowed_hosts = '{192.0.2.1}'")
    world.queue.do(
        f"update public.apps_script_instances set {column} = %s, weight = 1000 where name = %s",
        *(value, "local-1"),
    )
    worker = world.worker()
    [execution] = world.enqueue(world.user())
    refused, done = world.wait_ended(execution)
    assert (refused["instance_name"], refused["category"]) == ("local-1", category)
    assert says in refused["error"]["message"]
    assert (done["outcome"], done["attempt"]) == ("succeeded", 1)
    world.check()
    assert worker.runs
