"""A worker as an operator runs it: `python -m flowstate_worker` with settings, signals, a log."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.faults.waiting import until

ROOT = Path(__file__).parents[2]

# A lease is short, so that rescue is not waited for long; the rest follows from it.
SHORT_LEASES: Mapping[str, str] = {
    "FLOWSTATE_LEASE_SECONDS": "3",
    "FLOWSTATE_HEARTBEAT_SECONDS": "0.8",
    "FLOWSTATE_API_TIMEOUT_SECONDS": "2",
    "FLOWSTATE_RESCUE_SECONDS": "0.4",
    "FLOWSTATE_POLL_MAX_SECONDS": "0.3",
    "FLOWSTATE_ECHO_SECONDS": "2",
    "FLOWSTATE_REALTIME": "false",
    "FLOWSTATE_LOG_FORMAT": "json",
}

Event = dict[str, Any]


class WorkerProcess:
    """One worker's process, started at once. `wait_ready` before relying on it."""

    def __init__(
        self,
        environment: Mapping[str, str],
        log: Path,
        *,
        command: Sequence[str] = ("-m", "flowstate_worker"),
    ) -> None:
        self.log = log
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, *command],
                env={**kept, **environment, "PYTHONUNBUFFERED": "1"},
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=file,
                start_new_session=True,
            )

    # -- signals and the end -----------------------------------------------------------------

    @property
    def runs(self) -> bool:
        return self.process.poll() is None

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, as the kernel's out-of-memory killer does it."""
        self.send(signal.SIGKILL)
        self.process.wait()

    def terminate(self) -> None:
        self.send(signal.SIGTERM)

    def ended(self, seconds: float = 60.0) -> int:
        """Waits for the end; the exit code."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the worker did not end\n{self.told()}") from None

    def clean_up(self) -> None:
        if self.runs:
            self.send(signal.SIGCONT)
            self.kill()

    # -- what it says ------------------------------------------------------------------------

    def events(self, name: str | None = None) -> list[Event]:
        """The log's lines, all or those of one event."""
        found = []
        for line in self.log.read_text(errors="replace").splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue  # half a line, or one from before logging was set up
            if isinstance(event, dict) and name in (None, event.get("event")):
                found.append(event)
        return found

    def wait_logged(self, name: str, times: int = 1) -> list[Event]:
        """Waits until the event has been logged that often."""

        def logged() -> list[Event] | None:
            found = self.events(name)
            assert self.runs or len(found) >= times, f"the worker has ended\n{self.told()}"
            return found if len(found) >= times else None

        return until(logged, f"the worker logs {name}, {times} times", told=self.told)

    def wait_ready(self) -> WorkerProcess:
        self.wait_logged("ready")
        return self

    def counter(self, name: str, **labels: str) -> float:
        """The value of one of its metrics, 0 as long as it does not exist."""
        [port] = {event["port"] for event in self.events("status_server")}
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            text = answer.read().decode()
        total = 0.0
        for line in text.splitlines():
            match = re.fullmatch(rf"flowstate_worker_{name}(?:\{{(.*)\}})? (\S+)", line)
            if match and all(f'{k}="{v}"' in (match[1] or "") for k, v in labels.items()):
                total += float(match[2])
        return total

    def told(self) -> str:
        """The end of the log, for failures."""
        return f"{self.log}:\n" + "\n".join(self.log.read_text(errors="replace").splitlines()[-40:])
