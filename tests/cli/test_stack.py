"""`flowstate up`, `status`, `down`, `reset` on a project of their own, and a worker beside them."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import CHECKOUT, FLOW, FlowState, until


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("project")
    for name in ("supabase", "sql", "node_modules"):
        (root / name).symlink_to(CHECKOUT / name)
    yield root
    FlowState({"FLOWSTATE_PROJECT": str(root)})("down", "--delete", "--yes")


@pytest.fixture
def flowstate(project: Path, monkeypatch: pytest.MonkeyPatch) -> FlowState:
    for name in os.environ:
        if name.startswith("FLOWSTATE_"):
            monkeypatch.delenv(name)
    return FlowState({"FLOWSTATE_PROJECT": str(project)})


def test_up_may_be_called_again_and_what_it_made_is_sound(flowstate: FlowState) -> None:
    first = flowstate.json("up")
    again = flowstate.json("up")
    assert first["environment"] == again["environment"]
    assert set(first["components"].values()).isdisjoint({None})
    assert [row["name"] for row in flowstate.json("instances", "list")] == [
        "local-1", "local-2", "local-3", "local-4", "local-5",
    ]  # fmt: skip
    assert flowstate("doctor").exit_code == 0
    assert flowstate.json("db", "push") == {"migrations": [], "applied": False}


def test_the_environment_lines_are_those_that_a_shell_reads(flowstate: FlowState) -> None:
    flowstate("up")
    found = flowstate.json("status")["environment"]
    lines = flowstate("status", "--env").stdout.splitlines()
    read = dict(shlex.split(line)[1].split("=", 1) for line in lines)
    assert read == found
    assert flowstate.json("status", "--env") == found


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"FLOWSTATE_SUPABASE_URL": "http://127.0.0.1:1"}, "FLOWSTATE_SERVICE_KEY"),
        ({"FLOWSTATE_DATABASE_URL": "postgresql://127.0.0.1:1/x"}, "FLOWSTATE_SUPABASE_URL"),
    ],
)
def test_another_address_never_meets_a_key_of_the_local_stack(
    flowstate: FlowState, given: dict[str, str], missing: str
) -> None:
    flowstate("up")
    assert flowstate("queue", "status").exit_code == 0
    result = flowstate("queue", "status", **given)
    assert result.exit_code == 3
    assert f"{missing} is not set" in result.stderr


def test_a_worker_runs_what_is_queued_and_drains_on_a_signal(
    flowstate: FlowState, project: Path, tmp_path: Path
) -> None:
    flowstate("up")
    flow = _flow_of_a_new_user(flowstate)
    log = tmp_path / "worker.log"
    with log.open("wb") as out:
        worker = subprocess.Popen(
            [sys.executable, "-m", "flowstate_cli", "worker", "run", "--json"],
            env={**os.environ, "FLOWSTATE_PROJECT": str(project)},
            stdout=out,
            stderr=out,
            cwd=CHECKOUT,
        )
    try:
        [item] = flowstate.json("enqueue", flow["id"], "--input", '{"who": "Ana"}')["items"]

        def ended() -> dict[str, Any] | None:
            found: dict[str, Any] = flowstate.json("queue", "show", item["execution_id"])
            return found if found["finished_at"] else None

        found = until(ended, "the execution ended")
        assert found["state"] == "succeeded", log.read_text()
        assert found["result"] == {"rows": {"output": "Ana"}}
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0
    finally:
        worker.kill()
        worker.wait()
    logged = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    assert logged


def test_following_the_log_shows_what_ends_meanwhile(
    flowstate: FlowState, project: Path, tmp_path: Path
) -> None:
    flowstate("up")
    flow = _flow_of_a_new_user(flowstate)
    file = tmp_path / "followed"
    with file.open("wb") as out:
        follower = subprocess.Popen(
            [sys.executable, "-m", "flowstate_cli", "logs", "--flow", flow["id"], "--follow",
             "--interval", "0.1", "--json"],
            env={**os.environ, "FLOWSTATE_PROJECT": str(project)}, stdout=out, cwd=CHECKOUT,
        )  # fmt: skip
    try:
        wanted = []
        for _ in range(3):
            [item] = flowstate.json("enqueue", flow["id"])["items"]
            flowstate("queue", "cancel", item["execution_id"], "--yes")
            wanted.append(item["execution_id"])
        until(lambda: file.read_text().count("\n") >= 3, "three lines")
        follower.send_signal(signal.SIGINT)
        assert follower.wait(30) == 0
    finally:
        follower.kill()
        follower.wait()
    shown = [json.loads(line)["execution_id"] for line in file.read_text().splitlines()]
    assert shown == wanted


def test_stopping_keeps_the_data_and_starting_brings_it_back(flowstate: FlowState) -> None:
    flowstate("up")
    flow = _flow_of_a_new_user(flowstate)
    assert flowstate.json("down") == {"stopped": True, "deleted": False}
    stopped = flowstate("status")
    assert stopped.exit_code == 1
    assert "Not running: postgres" in stopped.stderr
    unreachable = flowstate("queue", "status")
    assert unreachable.exit_code == 3
    assert "flowstate up" in unreachable.stderr
    flowstate("up")
    assert flowstate.json("flows", "show", flow["id"])["id"] == flow["id"]


def test_what_deletes_the_database_asks_first(flowstate: FlowState) -> None:
    flowstate("up")
    for command in (("reset",), ("down", "--delete")):
        result = flowstate(*command)
        assert result.exit_code == 2
        assert "--yes" in result.stderr
    assert flowstate("status").exit_code == 0


def test_reset_makes_an_empty_database_with_new_keys(flowstate: FlowState) -> None:
    before = flowstate.json("up")["environment"]
    _flow_of_a_new_user(flowstate)
    after = flowstate.json("reset", "--yes")["environment"]
    assert after["FLOWSTATE_SERVICE_KEY"] != before["FLOWSTATE_SERVICE_KEY"]
    assert flowstate.json("flows", "list") == []
    assert flowstate.json("down", "--delete", "--yes") == {"stopped": True, "deleted": True}
    assert flowstate.json("down") == {"stopped": False, "deleted": False}


def test_a_port_that_is_taken_is_named(flowstate: FlowState, stack: Any) -> None:
    result = flowstate("up", "--api-port", str(stack.info.ports["api_port"]))
    flowstate("down")
    assert result.exit_code == 2
    assert f"port {stack.info.ports['api_port']} (api_port) is taken" in result.stderr


def _flow_of_a_new_user(flowstate: FlowState) -> dict[str, Any]:
    from flowstate_cli.api import Api
    from flowstate_cli.settings import Settings

    environment = flowstate.json("status", "--env")
    with Api(Settings(environment, "a test")) as api:
        email = f"{secrets.token_hex(6)}@example.com"
        user = api.client.auth.admin.create_user({"email": email, "email_confirm": True}).user
    made = flowstate.json("flows", "create", "-", "--user", user.id, "--name", "rows", stdin=FLOW)
    assert isinstance(made, dict)
    return made
