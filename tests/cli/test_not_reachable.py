"""A wrong key, a wrong address, nothing set: each says which, and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowstate_local import LocalStack

from .conftest import FlowState

API = ("FLOWSTATE_SUPABASE_URL", "FLOWSTATE_SERVICE_KEY")
READS = [
    ("queue", "status"), ("flows", "list"), ("instances", "list"), ("logs",), ("users", "list"),
    ("tiers", "list"), ("usage",), ("audit", "log"), ("audit", "verify"),
]  # fmt: skip


@pytest.mark.parametrize("command", READS)
def test_an_api_that_does_not_listen_is_named(
    flowstate: FlowState, command: tuple[str, ...]
) -> None:
    result = flowstate(*command, FLOWSTATE_SUPABASE_URL="http://127.0.0.1:1")
    assert result.exit_code == 3
    assert "The API at http://127.0.0.1:1 does not accept a connection" in result.stderr
    assert "flowstate up" in result.stderr


@pytest.mark.parametrize("command", READS)
def test_a_wrong_key_is_said_to_be_wrong(flowstate: FlowState, command: tuple[str, ...]) -> None:
    key = "sb_secret_" + "x" * 31
    result = flowstate(*command, FLOWSTATE_SERVICE_KEY=key)
    assert result.exit_code == 3
    assert "FLOWSTATE_SERVICE_KEY: The API refused the key" in result.stderr
    assert key not in result.output


def test_a_key_without_the_rights_is_said_to_be_wrong(
    flowstate: FlowState, stack: LocalStack
) -> None:
    result = flowstate("queue", "status", FLOWSTATE_SERVICE_KEY=stack.info.anon_key)
    assert result.exit_code == 3
    assert "FLOWSTATE_SERVICE_KEY: The API refused the key" in result.stderr


def test_the_publishable_key_is_recognised(flowstate: FlowState) -> None:
    key = flowstate.environment["FLOWSTATE_PUBLISHABLE_KEY"]
    result = flowstate("queue", "status", FLOWSTATE_SERVICE_KEY=key)
    assert result.exit_code == 2
    assert "This is the publishable key" in result.stderr
    assert key not in result.output


def test_a_key_of_no_known_form_is_refused_before_it_is_sent(flowstate: FlowState) -> None:
    result = flowstate("queue", "status", FLOWSTATE_SERVICE_KEY="hunter2")
    assert result.exit_code == 2
    assert "not the form of a Supabase key" in result.stderr
    assert "hunter2" not in result.output


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://example.com", "must not travel without TLS"),
        ("example.com", "is not an http(s) address"),
        ("file:///etc/passwd", "is not an http(s) address"),
    ],
)
def test_an_address_that_the_key_must_not_go_to_is_refused(
    flowstate: FlowState, url: str, message: str
) -> None:
    result = flowstate("queue", "status", FLOWSTATE_SUPABASE_URL=url)
    assert result.exit_code == 2
    assert message in result.stderr


def test_nothing_set_and_no_stack_says_what_to_set(flowstate: FlowState, tmp_path: Path) -> None:
    (tmp_path / "supabase").mkdir()
    nowhere = FlowState({"FLOWSTATE_PROJECT": str(tmp_path)})
    result = nowhere("queue", "status")
    assert result.exit_code == 3
    assert "FLOWSTATE_SUPABASE_URL is not set" in result.stderr
    assert "flowstate up" in result.stderr
    assert nowhere("db", "push").exit_code == 3
    assert nowhere("worker", "run").exit_code == 3
    assert nowhere("status").exit_code == 3


def test_outside_of_a_project_the_way_in_is_shown(
    flowstate: FlowState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = flowstate("db", "check", "--offline", FLOWSTATE_PROJECT=None)
    assert result.exit_code == 2
    assert "FLOWSTATE_PROJECT" in result.stderr
    wrong = flowstate("db", "check", "--offline", FLOWSTATE_PROJECT=str(tmp_path))
    assert wrong.exit_code == 2


@pytest.mark.parametrize("value", ["{", "[]", '{"k1": 7}'])
def test_instance_keys_that_are_no_keys_are_refused_without_showing_them(
    flowstate: FlowState, value: str
) -> None:
    result = flowstate("instances", "list", FLOWSTATE_INSTANCE_KEYS=value)
    assert result.exit_code == 2
    assert "FLOWSTATE_INSTANCE_KEYS" in result.stderr
