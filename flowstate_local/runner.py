"""Starting and stopping the components of one stack whose folder is held."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request

import psycopg

from flowstate_local import components, ports, processes
from flowstate_local.components import COMPONENTS, PORTS, Launch
from flowstate_local.errors import ComponentFailedError, LocalStackError
from flowstate_local.migrations import answers
from flowstate_local.postgres import preparation
from flowstate_local.postgres.account import data_home, unprivileged_account
from flowstate_local.postgres.binaries import find_binaries
from flowstate_local.postgres.cluster import Cluster
from flowstate_local.processes import ProcessId
from flowstate_local.state import PORT_NAMES, State

_READY_SECONDS = 60.0
_GRACE_SECONDS = 5.0
_POSTGRES_GRACE_SECONDS = 30.0


@dataclass(frozen=True)
class Runner:
    """Acts on the processes of the stack in `directory` and writes each change to its state."""

    state: State
    directory: Path

    def choose_ports(self, wanted: Sequence[str], asked: dict[str, int]) -> None:
        """A port for every name. What runs keeps its own; what is not wanted now is not moved.

        Raises:
            PortTakenError: a port that was asked for is in use.
            LocalStackError: a running component would have to move.
        """
        owners = {port: name for name, owned in PORTS.items() for port in owned}
        given: set[int] = set()
        for name in PORT_NAMES:
            running = self._runs(owners[name])
            if running and asked.get(name, 0) not in (0, self.state.ports[name]):
                raise LocalStackError(
                    f"{name} is {self.state.ports[name]} and in use by this stack; "
                    f"stop it before it can move to {asked[name]}"
                )
            if name in self.state.ports and (running or owners[name] not in wanted):
                given.add(self.state.ports[name])
        for name in sorted(PORT_NAMES, key=lambda name: not asked.get(name)):
            if self.state.ports.get(name) in given:
                continue
            self.state.ports[name] = ports.choose(
                name,
                asked=asked.get(name, 0) if owners[name] in wanted else 0,
                remembered=self.state.ports.get(name, 0),
                taken=frozenset(given),
            )
            given.add(self.state.ports[name])
        self.state.save(self.directory)

    def start_postgres(self) -> None:
        """Start the server, first making the cluster where there is none, and prepare it."""
        if self._runs("postgres"):
            return
        state = self.state
        cluster = Cluster(
            home=cluster_home(self.directory),
            binaries=find_binaries(),
            account=unprivileged_account(),
            log=log_path(self.directory, "postgres"),
            durable=state.durable,
        )
        admin_url = state.info({}).admin_db_url
        if not (state.has_cluster and cluster.exists):
            cluster.make(state.keys.admin_password)
            state.has_cluster = True
        process = cluster.spawn(state.ports["db_port"])
        self._record("postgres", process)
        ready = cluster.wait_ready(process, admin_url, secrets=state.keys.secrets())
        self._record("postgres", ready)
        with psycopg.connect(admin_url, autocommit=True) as connection:
            if not preparation.is_bootstrapped(connection):
                preparation.bootstrap(connection, state.keys)
            preparation.prepare_start(connection)

    def start_others(self, names: Sequence[str]) -> None:
        """Start all of `names` (without postgres), then wait for each: their starts overlap."""
        launches: dict[str, Launch] = {}
        for name in names:
            launch = components.launch(name, self.state, self.directory)
            if self._runs(name):
                if self.state.configurations.get(name) == _digest(launch):
                    continue
                self.stop((name,))
            self._start(name, launch)
            launches[name] = launch
        for name, launch in launches.items():
            self._wait_ready(name, launch)

    def stop(self, names: Sequence[str]) -> None:
        """Signal all but Postgres at once and wait for each; Postgres stops last, and fast."""
        processes_by_name = {
            name: self.state.processes[name]
            for name in reversed(COMPONENTS)
            if name in names and name in self.state.processes
        }
        for name, process in processes_by_name.items():
            if name != "postgres":
                processes.send(process, signal.SIGTERM)
        for name, process in processes_by_name.items():
            if name != "postgres":
                processes.stop(process, how=signal.SIGTERM, grace_seconds=_GRACE_SECONDS)
                continue
            processes.send(process, signal.SIGINT)
            if not processes.wait_until_gone(process, seconds=_POSTGRES_GRACE_SECONDS):
                processes.stop(process, how=signal.SIGQUIT, grace_seconds=_GRACE_SECONDS)
        for name in processes_by_name:
            del self.state.processes[name]
        self.state.save(self.directory)

    def kill(self, name: str, number: signal.Signals) -> None:
        """End a component by `number`, at once."""
        process = self.state.processes.pop(name, None)
        if process:
            processes.stop(process, how=number, grace_seconds=_GRACE_SECONDS)
            self.state.save(self.directory)

    def _runs(self, name: str) -> bool:
        process = self.state.processes.get(name)
        return process is not None and processes.is_running(process)

    def _start(self, name: str, launch: Launch) -> None:
        if launch.configuration:
            path = components.configuration_path(self.directory, name)
            _write_private(path, json.dumps(launch.configuration, indent=2))
        process = processes.spawn(
            launch.command,
            log=log_path(self.directory, name),
            environment={**components.inherited_environment(), **launch.environment},
            directory=self.directory,
        )
        self.state.configurations[name] = _digest(launch)
        self._record(name, process)

    def _wait_ready(self, name: str, launch: Launch) -> None:
        request = Request(launch.ready_url)  # noqa: S310 - our own loopback address
        processes.wait_for(lambda: not self._runs(name) or answers(request), seconds=_READY_SECONDS)
        if self._runs(name) and answers(request):
            return
        what = (
            f"was not ready within {_READY_SECONDS:.0f} s"
            if self._runs(name)
            else "ended while starting"
        )
        self.stop((name,))
        log = log_path(self.directory, name)
        tail = processes.log_tail(log, secrets=self.state.keys.secrets())
        raise ComponentFailedError(f"{name} {what}. The end of {log}:\n{tail}")

    def _record(self, name: str, process: ProcessId) -> None:
        """Before anything else: a process that is not written down could not be stopped."""
        self.state.processes[name] = process
        self.state.save(self.directory)


def cluster_home(directory: Path) -> Path:
    """Where the stack's cluster lives."""
    return data_home(directory) if unprivileged_account() else directory / "postgres"


def log_path(directory: Path, name: str) -> Path:
    return directory / "logs" / f"{name}.log"


def _digest(launch: Launch) -> str:
    """Of what a component is configured with: another one means that it must start again."""
    text = json.dumps([launch.environment, launch.configuration], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
