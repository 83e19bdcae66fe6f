"""Components: started and stopped one by one, and clear about why one does not start."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowstate_local import ComponentFailedError, LocalStack, StackNotStartedError, ports
from flowstate_local.errors import LocalStackError
from tests.local.conftest import MakeStack


def test_an_unknown_component_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(LocalStackError, match="components has mailserver; there are postgres"):
        LocalStack.create(tmp_path / "stack", components=("postgres", "mailserver"))


def test_nothing_is_known_of_a_stack_that_was_never_started(make_stack: MakeStack) -> None:
    with pytest.raises(StackNotStartedError, match="flowstate up"):
        _ = make_stack().info


def test_a_component_is_stopped_and_started_alone(stack: LocalStack) -> None:
    before = stack.info
    stack.stop("gateway")
    assert set(stack.info.pids) == set(before.pids) - {"gateway"}
    stack.start("gateway")
    after = stack.info
    assert after.pids.pop("gateway") != before.pids.pop("gateway")
    assert after == before


def test_a_component_that_ended_is_started_again(stack: LocalStack) -> None:
    stack.kill("postgrest")
    assert not stack.is_running("postgrest")
    stack.start()
    assert stack.is_running("postgrest")


def test_a_component_that_does_not_start_is_told_with_its_log(
    make_stack: MakeStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "postgrest"
    program.write_text('#!/bin/sh\necho "cannot use $PGRST_JWT_SECRET" >&2; exit 1\n')
    program.chmod(0o755)
    monkeypatch.setenv("FLOWSTATE_POSTGREST", str(program))
    stack = make_stack(components=("postgres", "postgrest"))
    with pytest.raises(ComponentFailedError) as failed:
        stack.start()
    assert "postgrest ended while starting" in str(failed.value)
    assert "cannot use [redacted]" in str(failed.value)
    assert stack.info.jwt_secret not in str(failed.value)
    assert stack.is_running("postgres")


def test_a_running_component_does_not_move(make_stack: MakeStack) -> None:
    stack = make_stack()
    stack.start()
    moved = make_stack(stack.directory, db_port=stack.info.ports["api_port"])
    with pytest.raises(LocalStackError, match="stop it before it can move"):
        moved.start()


def test_a_component_whose_settings_changed_is_started_again(make_stack: MakeStack) -> None:
    stack = make_stack(components=("postgres", "postgrest"))
    stack.start()
    before = stack.info.pids["postgrest"]
    stack.stop("postgres")
    free = ports.choose("db_port", taken=frozenset(stack.info.ports.values()))
    make_stack(stack.directory, components=("postgres", "postgrest"), db_port=free).start()
    assert stack.info.ports["db_port"] == free
    assert stack.info.pids["postgrest"] != before


def test_stopping_and_destroying_what_is_not_there_is_no_error(make_stack: MakeStack) -> None:
    stack = make_stack()
    stack.stop()
    stack.destroy()
    assert not stack.directory.exists()
