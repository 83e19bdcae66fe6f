"""`flowstate flows` and `flowstate enqueue`, `queue`, `logs` on the way of one execution."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from flowstate_cli.api import Api

from .conftest import FLOW, FlowState, Person


def test_a_flow_is_created_listed_and_shown_as_it_was_written(
    flowstate: FlowState, person: Person, flow: dict[str, Any], tmp_path: Path
) -> None:
    listed = flowstate.json("flows", "list", "--user", person.email)
    assert [row["id"] for row in listed] == [flow["id"]]
    assert flowstate.json("flows", "show", flow["id"])["definition"] == flow["definition"]
    shown = flowstate("flows", "show", "rows", "--user", person.id)
    again = tmp_path / "again.yaml"
    again.write_text(shown.stdout.partition("\n\n")[2])
    assert flowstate.json("flows", "validate", str(again)) == {"valid": True, "problems": []}


def test_a_flow_is_replaced_only_when_that_is_asked_for(
    flowstate: FlowState, person: Person, flow: dict[str, Any]
) -> None:
    create = ("flows", "create", "-", "--user", person.id, "--name", "rows")
    other = FLOW.replace("who", "whom")
    refused = flowstate.json(*create, stdin=other, exit_code=1)
    assert "already" in refused["error"]["message"]
    assert flowstate.json(*create, "--replace", stdin=other)["version"] == flow["version"] + 1


def test_an_invalid_flow_is_refused_with_path_code_and_message(
    flowstate: FlowState, person: Person
) -> None:
    flow = json.dumps({"steps": [{"name": "a", "type": "gmail.find"}]})
    for command in (
        ("flows", "validate", "-"),
        ("flows", "create", "-", "--user", person.id, "--name", "x"),
    ):
        result = flowstate(*command, stdin=flow)
        assert result.exit_code == 2
        assert "steps[0].type (unknown_step): 'gmail.find' is no step type" in result.stderr
    found = flowstate.json("flows", "validate", "-", stdin=flow, exit_code=2)
    assert [problem["code"] for problem in found["problems"]] == ["unknown_step"]


def test_an_execution_is_queued_shown_and_cancelled(
    flowstate: FlowState, person: Person, flow: dict[str, Any]
) -> None:
    at = datetime.now(timezone(timedelta(hours=1))).replace(microsecond=0) + timedelta(days=30)
    command = ("enqueue", flow["id"], "--input", '{"who": "Ana"}', "--at", at.isoformat())
    [item] = flowstate.json(*command)["items"]
    assert datetime.fromisoformat(item["run_at"]) == at
    execution = item["execution_id"]
    assert flowstate.json("queue", "show", execution)["state"] == "scheduled"
    [listed] = flowstate.json("queue", "list", "--user", person.email)
    assert listed["execution_id"] == execution
    assert flowstate.json("queue", "cancel", execution, "--dry-run")["state"] == "scheduled"
    assert flowstate.json("queue", "cancel", execution, "--yes")["state"] == "cancelled"
    [past] = flowstate.json("queue", "list", "--user", person.id, "--state", "cancelled")
    assert past["execution_id"] == execution
    [attempt] = flowstate.json("logs", "--execution", execution)
    assert attempt["outcome"] == "cancelled"
    assert "cancelled" in flowstate("logs", "--user", person.id).stdout


def test_cancelling_asks_first_and_never_guesses(
    flowstate: FlowState, flow: dict[str, Any]
) -> None:
    [item] = flowstate.json("enqueue", flow["id"])["items"]
    result = flowstate("queue", "cancel", item["execution_id"])
    assert result.exit_code == 2
    assert "--yes" in result.stderr
    assert flowstate.json("queue", "show", item["execution_id"])["state"] == "available"


def test_the_same_key_gives_the_same_execution(flowstate: FlowState, flow: dict[str, Any]) -> None:
    first = flowstate.json("enqueue", flow["id"], "--key", "once")
    second = flowstate.json("enqueue", flow["id"], "--key", "once")
    assert (first["accepted"], second["accepted"], second["duplicates"]) == (1, 0, 1)
    assert first["items"][0]["execution_id"] == second["items"][0]["execution_id"]


def test_beyond_the_limit_is_refused_or_deferred(
    flowstate: FlowState, api: Api, person: Person, flow: dict[str, Any]
) -> None:
    api.run(api.table("user_profiles").update({"tier": "free"}).eq("user_id", person.id))
    found = flowstate.json("enqueue", flow["id"], "--count", "7", exit_code=1)
    assert (found["accepted"], found["refused"]) == (5, 2)
    assert {item["refused"] for item in found["items"]} == {None, "hour_limit"}
    refused = flowstate("enqueue", flow["id"])
    assert refused.exit_code == 1
    assert "hour limit of 5 reached: 1" in refused.stderr
    assert "Room again in 3" in refused.stderr
    assert "--on-limit defer" in refused.stderr
    [item] = flowstate.json("enqueue", flow["id"], "--on-limit", "defer")["items"]
    assert item["state"] == "scheduled"


def test_a_file_is_queued_line_by_line(
    flowstate: FlowState, flow: dict[str, Any], tmp_path: Path
) -> None:
    lines = [{"input": {"who": name}, "idempotency_key": name} for name in ("Ana", "Ben", "Cem")]
    file = tmp_path / "runs.jsonl"
    file.write_text("\n".join(json.dumps(line) for line in lines))
    command = ("enqueue", flow["id"], "--file", str(file), "--priority", "7")
    assert flowstate.json(*command)["accepted"] == 3
    again = flowstate.json(*command)
    assert (again["accepted"], again["duplicates"]) == (0, 3)


def test_what_the_database_refuses_is_said_of_the_line(
    flowstate: FlowState, flow: dict[str, Any]
) -> None:
    lines = '{"priority": 1}\n\n{"idempotency_key": "' + "x" * 201 + '"}\n'
    error = flowstate.json("enqueue", flow["id"], "--file", "-", stdin=lines, exit_code=2)["error"]
    assert error["message"].startswith("Line 3: idempotency_key")
    late = flowstate.json("enqueue", flow["id"], "--at", "2999-01-01T00:00:00Z", exit_code=2)
    assert late["error"]["message"].startswith("run_at must be")


def test_a_line_that_names_an_unknown_flow_is_refused_by_itself(
    flowstate: FlowState, flow: dict[str, Any]
) -> None:
    lines = '{"flow_id": "00000000-0000-4000-8000-000000000000"}\n{}\n'
    found = flowstate.json("enqueue", flow["id"], "--file", "-", stdin=lines, exit_code=1)
    assert [item["refused"] for item in found["items"]] == ["unknown_flow", None]


@pytest.mark.parametrize("command", [("queue", "status"), ("instances", "list")])
def test_reading_commands_show_people_a_table(
    flowstate: FlowState, command: tuple[str, ...]
) -> None:
    result = flowstate(*command)
    assert result.exit_code == 0
    assert "local-1" in result.stdout
    assert "owner-a@example.com" in result.stdout
