"""The processes that a benchmark starts besides the stack: each ends with its block."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowstate_local import StackInfo

ROOT = Path(__file__).resolve().parent.parent


def wait_for(condition: Callable[[], bool], what: str, *, seconds: float = 60.0) -> None:
    """Poll until `condition` holds. Raises TimeoutError saying `what` was waited for."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(0.02)


@contextmanager
def _process(*arguments: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    child = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, text=True, **options)
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


# ------------------------------------------------------------------------------------- endpoint


@dataclass(frozen=True)
class Endpoint:
    """The stand-in for Google: see endpoint.py."""

    pid: int
    hosts: tuple[str, str]
    """Of the first hop and of the second."""

    def arrivals(self) -> dict[str, float]:
        """When each execution was asked for first, in Unix seconds, if it was told to keep that."""
        with urllib.request.urlopen(f"http://{self.hosts[0]}/arrivals", timeout=30) as answer:
            found: dict[str, float] = json.load(answer)
        return found


@contextmanager
def endpoint(*, run_seconds: float = 0.0, arrivals: bool = False) -> Iterator[Endpoint]:
    arguments = ["-m", "benchmarks.endpoint", "--run-seconds", str(run_seconds)]
    if arrivals:
        arguments.append("--arrivals")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with _process(*arguments, **pipes) as child:
        assert child.stdout is not None
        ports = json.loads(child.stdout.readline())
        hosts = (f"127.0.0.1:{ports['exec_port']}", f"127.0.0.1:{ports['echo_port']}")
        yield Endpoint(child.pid, hosts)


# ------------------------------------------------------------------------------------- bare loop


def run_bare_loop(
    url: str, body: Mapping[str, Any], *, in_flight: int, seconds: float, warm_up: float
) -> dict[str, float]:
    """One measurement of bare_loop.py: executions, seconds, cpu_seconds."""
    arguments = ["-m", "benchmarks.bare_loop", "--url", url, "--body", json.dumps(body)]
    arguments += ["--in-flight", str(in_flight), "--seconds", str(seconds)]
    arguments += ["--warm-up", str(warm_up)]
    with _process(*arguments, stdout=subprocess.PIPE) as child:
        output, _ = child.communicate(timeout=seconds + 60)
        if child.returncode != 0:
            raise RuntimeError("the bare loop failed; its own message stands above")
    answer: dict[str, float] = json.loads(output)
    return answer


# ---------------------------------------------------------------------------------------- worker


class Worker:
    """`python -m flowstate_worker`, as an operator starts it."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self._process = process
        self._log = log
        self._port = 0

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_ready(self) -> None:
        wait_for(lambda: self._said("ready") is not None, "the worker is ready")
        started = self._said("status_server")
        assert started is not None
        self._port = int(started["port"])

    def metric(self, name: str, **labels: str) -> float:
        """The sum of one of its metrics over the label sets that have these labels."""
        address = f"http://127.0.0.1:{self._port}/metrics"
        with urllib.request.urlopen(address, timeout=30) as answer:
            text = answer.read().decode()
        total = 0.0
        for line in text.splitlines():
            match = re.fullmatch(rf"flowstate_worker_{name}(?:\{{(.*)\}})? (\S+)", line)
            if match and all(f'{k}="{v}"' in (match[1] or "") for k, v in labels.items()):
                total += float(match[2])
        return total

    def stored(self) -> int:
        """Outcomes that the queue has accepted."""
        return int(self.metric("finish_answers_total", answer="accepted"))

    def _said(self, event: str) -> dict[str, Any] | None:
        """The first line of the log about `event`."""
        if self._process.poll() is not None:
            raise RuntimeError(f"the worker has ended:\n{self._log.read_text()[-2000:]}")
        for line in self._log.read_text().splitlines(keepends=True):
            if f'"event":"{event}"' in line.replace(" ", "") and line.endswith("\n"):
                found: dict[str, Any] = json.loads(line)
                return found
        return None


@contextmanager
def worker(
    info: StackInfo, *, endpoint: Endpoint | None = None, **settings: Any
) -> Iterator[Worker]:
    """A worker of its own process, ready; `max_in_flight=64` is FLOWSTATE_MAX_IN_FLIGHT.

    All else is as by default. Its log goes to a file, as under a service manager.
    """
    environment = info.environment()
    if endpoint is not None:
        environment["FLOWSTATE_EXEC_HOSTS"], environment["FLOWSTATE_ECHO_HOSTS"] = endpoint.hosts
    for name, value in settings.items():
        environment[f"FLOWSTATE_{name.upper()}"] = str(value)
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    with tempfile.TemporaryDirectory(prefix="flowstate-") as directory:
        log = Path(directory) / "worker.log"
        with (
            log.open("w") as file,
            _process("-m", "flowstate_worker", env={**kept, **environment}, stderr=file) as child,
        ):
            started = Worker(child, log)
            started.wait_ready()
            yield started
