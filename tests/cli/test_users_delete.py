"""`flowstate users delete`: asked for, exported first, and gone altogether."""

from __future__ import annotations

import hashlib
import signal
from pathlib import Path
from typing import Any

import pytest

from flowstate_cli.api import Api

from .conftest import FlowState, Person
from .people import NOBODY, claim, finish, on_a_terminal, profile, started
from .test_users_export import read

TABLES = (
    "user_profiles", "user_limit_overrides", "user_sessions", "flows", "flow_versions",
    "flow_execution_queue", "execution_logs", "rate_limit_tracking", "user_activity_logs",
)  # fmt: skip
WHY = ("--reason", "asked for it")


def left(api: Api, user_id: str) -> dict[str, int]:
    """Rows that name the user, by table."""
    counts = {
        table: len(api.rows(api.table(table).select("user_id").eq("user_id", user_id)))
        for table in TABLES
    }
    return {table: count for table, count in counts.items() if count}


@pytest.fixture
def busy(api: Api, flowstate: FlowState, person: Person, flow: dict[str, Any]) -> Person:
    """With a queue, and a history."""
    [done, *_] = flowstate.json("enqueue", flow["id"], "--count", "3")["items"]
    lease = claim(api, done["execution_id"])
    finished = {**lease, "outcome": "succeeded", "result": {}}
    api.rpc("finish_flow_executions", {"results": [finished]})
    assert {"execution_logs", "flow_execution_queue"} <= left(api, person.id).keys()
    return person


def test_nothing_of_a_deleted_user_is_left(
    flowstate: FlowState, api: Api, busy: Person, tmp_path: Path
) -> None:
    output = tmp_path / "gone.zip"
    found = flowstate.json("users", "delete", busy.email, "--export", str(output), "--yes", *WHY)
    assert (found["user_id"], found["state"]) == (busy.id, "deleted")
    assert left(api, busy.id) == {}
    assert [len(read(output)[name]) for name in ("profile", "flows", "queue", "executions")] == [
        1, 1, 2, 1,
    ]  # fmt: skip
    assert flowstate("users", "show", busy.email).exit_code == 1
    # The trail keeps that it was done, and a digest for those who know the id.
    digest = hashlib.sha256(busy.id.encode()).hexdigest()
    query = api.table("user_activity_logs").select("action, details").eq("object_id", digest)
    assert api.rows(query) == [{"action": "user.deleted", "details": {"reason": "asked for it"}}]
    assert flowstate("audit", "verify").exit_code == 0
    again = flowstate("users", "delete", busy.id, "--no-export", "--yes", *WHY)
    assert again.exit_code == 1
    assert f"user_id: there is no user {busy.id}" in again.stderr


def test_it_is_asked_for_by_typing_the_address(
    flowstate: FlowState, api: Api, busy: Person, tmp_path: Path
) -> None:
    output = tmp_path / "x.zip"
    command = ("users", "delete", busy.id, "--export", str(output), *WHY)
    before = left(api, busy.id)
    for typed in ("", "y", "yes", "other@example.com"):
        code, said = on_a_terminal(flowstate, *command, typed=[typed])
        assert code == 1
        assert f"Type {busy.email} to go on" in said
        assert "Nothing was changed" in said
    assert left(api, busy.id) == before
    assert profile(api, busy.id)["deletion_requested_at"] is None
    assert not output.exists()
    code, _ = on_a_terminal(flowstate, *command, typed=[busy.email])
    assert code == 0
    assert left(api, busy.id) == {}


def test_a_dry_run_shows_what_would_go(flowstate: FlowState, api: Api, busy: Person) -> None:
    before = left(api, busy.id)
    command = ("users", "delete", busy.email, "--no-export", "--dry-run", *WHY)
    found = flowstate.json(*command)
    assert (found["flows"], found["queue"]["available"]) == (1, 2)
    assert busy.id in flowstate(*command).stdout
    assert left(api, busy.id) == before
    assert profile(api, busy.id)["deletion_requested_at"] is None


def test_running_calls_are_ended_first(
    flowstate: FlowState, api: Api, person: Person, flow: dict[str, Any]
) -> None:
    [queued] = flowstate.json("enqueue", flow["id"])["items"]
    lease = claim(api, queued["execution_id"])
    command = ("users", "delete", person.email, "--no-export", "--yes", *WHY)
    with started(flowstate, *command) as process:
        assert process.stderr
        assert process.stderr.readline() == "Waiting for 1 running execution(s) to end.\n"
        assert flowstate.json("users", "show", person.id)["state"] == "deleting"
        finish(api, lease)
        assert process.wait(60) == 0
    assert left(api, person.id) == {}


def test_an_interrupted_deletion_is_gone_on_with(
    flowstate: FlowState, api: Api, person: Person, flow: dict[str, Any]
) -> None:
    [queued] = flowstate.json("enqueue", flow["id"])["items"]
    lease = claim(api, queued["execution_id"])
    command = ("users", "delete", person.email, "--no-export", "--yes", *WHY)
    with started(flowstate, *command) as process:
        assert process.stderr
        process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    again = f"flowstate users delete {person.id} --no-export --reason 'asked for it'"
    assert again in said
    assert "Traceback" not in said
    assert flowstate("users", "resume", person.id).exit_code == 1
    finish(api, lease)
    assert flowstate("users", "delete", person.id, "--no-export", "--yes", *WHY).exit_code == 0
    assert left(api, person.id) == {}


def test_history_that_is_left_of_a_user_is_erased_by_id(
    flowstate: FlowState, api: Api, busy: Person
) -> None:
    # As through Studio: the account goes, and its history waits for the next maintenance.
    api.client.auth.admin.delete_user(busy.id)
    assert "execution_logs" in left(api, busy.id)
    result = flowstate("users", "delete", busy.id, "--no-export", "--yes", *WHY)
    assert result.exit_code == 0, result.output
    assert left(api, busy.id) == {}


def test_what_a_worker_erased_meanwhile_counts_as_done(
    flowstate: FlowState, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = Api.rpc

    def erase_elsewhere(api: Api, name: str, arguments: Any = None) -> Any:
        answer = ask(api, name, arguments)
        return {**answer, "state": "erasing"} if name == "delete_user" else answer

    monkeypatch.setattr(Api, "rpc", erase_elsewhere)
    found = flowstate.json("users", "delete", person.id, "--no-export", "--yes", *WHY)
    assert found["state"] == "deleted"


def test_an_export_that_fails_keeps_the_user(
    flowstate: FlowState, api: Api, busy: Person, tmp_path: Path
) -> None:
    before = left(api, busy.id)
    taken = tmp_path / "taken.zip"
    taken.write_text("mine")
    for path in (taken, tmp_path / "no" / "folder.zip"):
        result = flowstate("users", "delete", busy.id, "--export", str(path), "--yes", *WHY)
        assert result.exit_code == 2
        assert "--export: " in result.stderr
    assert left(api, busy.id) == before
    assert profile(api, busy.id)["deletion_requested_at"] is None
    assert taken.read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--no-export", "--yes"), 2, "--reason"),
        (("--yes", *WHY), 2, "--export: Say where everything is exported to first"),
        (("--export", "x.zip", "--no-export", "--yes", *WHY), 2, "--export: Say where"),
        (("--no-export", *WHY), 2, "--yes: This destroys something and there is nobody to ask"),
        (("--no-export", "--json", *WHY), 2, "--yes: "),
        (("--no-export", "--yes", "--reason", " "), 2, "reason must say why"),
    ],
)
def test_what_is_not_said_clearly_changes_nothing(
    flowstate: FlowState,
    api: Api,
    person: Person,
    arguments: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    before = left(api, person.id)
    result = flowstate("users", "delete", person.email, *arguments)
    assert result.exit_code == code, result.output
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert left(api, person.id) == before
    assert profile(api, person.id)["deletion_requested_at"] is None


def test_nobody_is_not_deleted(flowstate: FlowState) -> None:
    for user, message in (
        (NOBODY, f"user_id: there is no user {NOBODY}"),
        ("nobody@example.com", "user: No user has this e-mail address"),
    ):
        result = flowstate("users", "delete", user, "--no-export", "--yes", *WHY)
        assert result.exit_code == 1
        assert message in result.stderr
    result = flowstate("users", "delete", "ana", "--no-export", "--yes", *WHY)
    assert result.exit_code == 2
    assert "user: 'ana' is neither a UUID nor an e-mail address" in result.stderr
