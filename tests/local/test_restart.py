"""Crashes and restarts of Postgres: what was committed stays, whatever was left lying about."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Literal

import psycopg
import pytest

from flowstate_local import LocalStack, processes
from flowstate_local.postgres.account import unprivileged_account
from flowstate_local.runner import cluster_home
from tests.local.conftest import MakeStack


def _write(stack: LocalStack) -> None:
    with psycopg.connect(stack.info.db_url) as connection:
        connection.execute("create table public.kept (word text)")
        connection.execute("insert into public.kept values ('kept')")


def _read(stack: LocalStack) -> str:
    with psycopg.connect(stack.info.db_url) as connection:
        row = connection.execute("select word from public.kept").fetchone()
    assert row
    return str(row[0])


@pytest.mark.parametrize("mode", ["immediate", "sigkill"])
def test_committed_data_survives_a_killed_server(
    make_stack: MakeStack, mode: Literal["immediate", "sigkill"]
) -> None:
    stack = make_stack()
    stack.start()
    _write(stack)
    stack.kill("postgres", mode=mode)
    assert not stack.is_running("postgres")
    stack.start()
    assert _read(stack) == "kept"


def _continue_after_refusal(stack: LocalStack, child: processes.ProcessId) -> None:
    """Let the stopped child go on once the new server was seen to refuse because of it."""
    log = stack.log("postgres")
    refused = processes.wait_for(lambda: "shared memory block" in log.read_text(), seconds=30)
    processes.send(child, signal.SIGCONT)
    assert refused


def test_a_restart_after_sigkill_copes_with_children_that_still_run(make_stack: MakeStack) -> None:
    stack = make_stack()
    stack.start()
    _write(stack)
    with psycopg.connect(stack.info.db_url, autocommit=True) as busy:
        pid = busy.info.backend_pid
        child = processes.identify(pid)
        assert child
        # A child that cannot notice its postmaster's death keeps the shared memory in use.
        processes.send(child, signal.SIGSTOP)
        stack.kill("postgres", mode="sigkill")
        waking = threading.Thread(target=_continue_after_refusal, args=(stack, child))
        waking.start()
        stack.start()
        waking.join()
    assert _read(stack) == "kept"


def test_a_stale_pid_file_with_a_pid_used_again_does_not_stop_a_start(
    make_stack: MakeStack, tmp_path: Path
) -> None:
    stack = make_stack()
    stack.start()
    _write(stack)
    pid_file = cluster_home(stack.directory) / "data" / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    stack.kill("postgres", mode="sigkill")
    # The number now belongs to another live process of the account that Postgres runs under.
    stranger = processes.spawn(
        ["/bin/sleep", "600"],
        log=tmp_path / "log", environment={}, directory=Path("/"), account=unprivileged_account(),
    )  # fmt: skip
    try:
        pid_file.write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")
        stack.start()
        assert processes.is_running(stranger)
    finally:
        processes.stop(stranger, how=signal.SIGKILL, grace_seconds=5)
    assert _read(stack) == "kept"


def test_starting_again_changes_nothing_that_runs(make_stack: MakeStack) -> None:
    stack = make_stack()
    stack.start()
    before = stack.info
    stack.start()
    assert stack.info == before


def test_a_server_of_a_forgotten_stack_is_stopped_before_its_data_goes(
    make_stack: MakeStack,
) -> None:
    stack = make_stack()
    stack.start()
    forgotten = processes.identify(stack.info.pids["postgres"])
    assert forgotten
    (stack.directory / "stack.json").unlink()
    for path in (stack.directory / "logs").iterdir():
        path.unlink()
    (stack.directory / "logs").rmdir()
    if unprivileged_account() is None:
        pytest.skip("the data lies in the stack's own folder, which is refused then")
    stack.start()
    assert not processes.is_running(forgotten)


def test_a_folder_with_other_things_in_it_is_refused(make_stack: MakeStack, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    stack = make_stack(tmp_path / "mine")
    with pytest.raises(Exception, match=r"is not empty \(thesis.txt\)"):
        stack.start()
    stack.destroy()
    assert (tmp_path / "mine" / "thesis.txt").exists()
