"""Operating-system processes of a stack: started detached, known by pid and start time, stopped in
order.

A component outlives the command which started it, so a pid is all that later commands have. Pids
are used again by the system; a process is therefore only ever signalled while its start time is
the recorded one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_POLL_SECONDS = 0.02
_HAS_PROC = Path("/proc/self/stat").exists()  # Linux; elsewhere `ps` is asked


@dataclass(frozen=True)
class ProcessId:
    """A pid that cannot be mistaken for a later process with the same number."""

    pid: int
    started: str


@dataclass(frozen=True)
class Account:
    """The unprivileged account that a process is started under."""

    name: str
    uid: int
    gid: int


class _Component(subprocess.Popen[bytes]):
    """A child which outlives us on purpose: dropping it while it runs is no mistake."""

    def __del__(self) -> None:
        pass


# Children must be reaped by the process that started them, or they stay visible as zombies.
_children: dict[int, _Component] = {}


def spawn(
    command: Sequence[str | Path],
    *,
    log: Path,
    environment: Mapping[str, str],
    directory: Path,
    account: Account | None = None,
    stdin: int | IO[bytes] = subprocess.DEVNULL,
) -> ProcessId:
    """Start `command` in a session of its own, its output appended to `log` (made 0600).

    The log is opened before privileges are dropped, so it may lie where `account` cannot go;
    `directory` may not.
    """
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        child = _Component(
            [str(part) for part in command],
            stdin=stdin,
            stdout=descriptor,
            stderr=descriptor,
            env=dict(environment),
            cwd=directory,
            start_new_session=True,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
    finally:
        os.close(descriptor)
    _children[child.pid] = child
    return identify(child.pid) or ProcessId(child.pid, "gone")


def identify(pid: int) -> ProcessId | None:
    """The live process that has this pid now."""
    started = _start_time(pid)
    return ProcessId(pid, started) if started else None


def is_running(process: ProcessId) -> bool:
    """Whether this very process is alive (a zombie is not)."""
    started = _start_time(process.pid)
    if started is None and process.pid in _children:
        _children.pop(process.pid).wait()  # takes the zombie off the system's list
    return started == process.started


def send(process: ProcessId, number: signal.Signals) -> None:
    """Signal the process, if it is still the one that was started."""
    if is_running(process):
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            pass


def wait_until_gone(process: ProcessId, *, seconds: float) -> bool:
    """Whether the process ended within `seconds`."""
    return wait_for(lambda: not is_running(process), seconds=seconds)


def stop(process: ProcessId, *, how: signal.Signals, grace_seconds: float) -> None:
    """Ask with `how`; after `grace_seconds` kill the whole session group."""
    send(process, how)
    if not wait_until_gone(process, seconds=grace_seconds):
        try:
            os.killpg(process.pid, signal.SIGKILL)  # a session leader's group has its pid
        except (ProcessLookupError, PermissionError):
            send(process, signal.SIGKILL)
        wait_until_gone(process, seconds=10)


def wait_for(condition: Callable[[], bool], *, seconds: float) -> bool:
    """Poll until `condition` holds; False when it did not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _start_time(pid: int) -> str | None:
    """Tells a process from others with its pid; None when it is gone or a zombie."""
    if _HAS_PROC:
        try:
            stat = Path(f"/proc/{pid}/stat").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            return None
        # The name in parentheses may hold anything; the fields follow the last ")".
        fields = stat.rpartition(b")")[2].split()
        if fields[0] in {b"Z", b"X"}:
            return None
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{int(fields[19])}"
    state, _, started = _ask_ps(pid, "state=,lstart=").partition(" ")
    return None if not state or state.startswith("Z") else started.strip()


def command_line(pid: int) -> str:
    """The process's arguments, joined by spaces; empty when it is gone."""
    if not _HAS_PROC:
        return _ask_ps(pid, "command=")
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return arguments.replace(b"\0", b" ").decode(errors="replace")


def _ask_ps(pid: int, columns: str) -> str:
    asked = subprocess.run(
        ["ps", "-o", columns, "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return asked.stdout.strip()


def log_tail(log: Path, *, secrets: Sequence[str], lines: int = 20) -> str:
    """The end of a log for an error message, keys and passwords blacked out."""
    try:
        text = log.read_text(errors="replace")
    except FileNotFoundError:
        return "(no log)"
    return redact("\n".join(text.splitlines()[-lines:]), secrets)


def redact(text: str, secrets: Sequence[str]) -> str:
    """`text` without any of the `secrets`."""
    for secret in secrets:
        text = text.replace(secret, "[redacted]")
    return text
