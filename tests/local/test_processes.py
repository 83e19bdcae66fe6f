"""Processes: only the very one that was started is ever signalled."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from flowstate_local import processes
from flowstate_local.processes import ProcessId

IGNORES_SIGTERM = (
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True);"
    " signal.pause()"
)


def _start(tmp_path: Path, code: str) -> ProcessId:
    log = tmp_path / "log"
    process = processes.spawn(
        [sys.executable, "-c", code], log=log, environment={}, directory=tmp_path
    )
    assert processes.wait_for(lambda: "ready" in log.read_text(), seconds=20)
    return process


def test_a_process_with_a_pid_used_again_is_left_alone(tmp_path: Path) -> None:
    process = _start(tmp_path, "import signal; print('ready', flush=True); signal.pause()")
    earlier = ProcessId(process.pid, "another start")
    assert not processes.is_running(earlier)
    processes.stop(earlier, how=signal.SIGKILL, grace_seconds=0.1)
    assert processes.is_running(process)
    processes.stop(process, how=signal.SIGTERM, grace_seconds=10)
    assert not processes.is_running(process)


def test_one_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    process = _start(tmp_path, IGNORES_SIGTERM)
    processes.stop(process, how=signal.SIGTERM, grace_seconds=0.2)
    assert not processes.is_running(process)


def test_a_killed_child_does_not_count_as_running(tmp_path: Path) -> None:
    process = _start(tmp_path, "import signal; print('ready', flush=True); signal.pause()")
    os.kill(process.pid, signal.SIGKILL)
    assert processes.wait_until_gone(process, seconds=10)


def test_the_end_of_a_log_is_shown_without_secrets(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("old\n" * 30 + "password=hunter2 refused\n")
    tail = processes.log_tail(log, secrets=["hunter2"], lines=2)
    assert tail == "old\npassword=[redacted] refused"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can drop privileges")
def test_the_log_may_lie_where_the_account_cannot_go(tmp_path: Path) -> None:
    from flowstate_local.postgres.account import unprivileged_account

    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    account = unprivileged_account()
    assert account
    process = processes.spawn(
        ["/usr/bin/id", "-u"],
        log=closed / "log", environment={}, directory=Path("/"), account=account,
    )  # fmt: skip
    assert processes.wait_until_gone(process, seconds=10)
    assert (closed / "log").read_text().strip() == str(account.uid)
