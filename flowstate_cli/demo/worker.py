"""The worker's process: started as an operator would, and never there for longer than the demo."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from flowstate_cli.errors import RefusedError

_GRACE_SECONDS = 2
_END_SECONDS = 15


class WorkerProcess:
    """One `python -m flowstate_worker` with its log in a file."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log

    def check(self) -> None:
        """Raises RefusedError when it has ended although nobody asked it to."""
        code = self._process.poll()
        if code is None:
            return
        how = f"was killed by signal {-code}" if code < 0 else f"ended by itself with {code}"
        last_lines = self._log.read_text(errors="replace").splitlines()[-2:]
        raise RefusedError(f"The worker {how}.", hint="\n  ".join(last_lines))

    def stop(self) -> int:
        """Drains it; its exit code."""
        self._process.terminate()
        try:
            return self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


@contextmanager
def running_worker(environment: Mapping[str, str], log: Path) -> Iterator[WorkerProcess]:
    """A worker with these FLOWSTATE_ settings and none of the caller's, ended with the block."""
    others = {k: v for k, v in os.environ.items() if not k.startswith("FLOWSTATE_")}
    settings = {
        **environment,
        "FLOWSTATE_LOG_FORMAT": "json",
        # Cut short, as by Ctrl-C, the demo does not wait for what nobody will look at.
        "FLOWSTATE_GRACE_SECONDS": str(_GRACE_SECONDS),
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "flowstate_worker"],
            env={**others, **settings},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C is for the demo, which then ends the worker in order
        )
    worker = WorkerProcess(process, log)
    try:
        with _leash(process.pid):
            try:
                yield worker
            finally:
                worker.stop()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


@contextmanager
def _leash(pid: int) -> Iterator[None]:
    """Ends the process `pid` even if this one is killed: a pipe closes, and a shell sees it."""
    with subprocess.Popen(
        ["/bin/sh", "-c", 'read -r _; kill -TERM "$1"', "leash", str(pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as shell:
        try:
            yield
        finally:
            # Before the pipe closes: the pid may be somebody else's by now.
            shell.send_signal(signal.SIGKILL)
