"""The stack without Docker: its components as processes of their own, under one folder.

There is no supervisor. A started component runs until it is stopped; what is known of it (pid,
ports, keys) stands in `<directory>/stack.json`, so that a later command can stop it or start what
ended meanwhile.

    <directory>/            0700; ours alone, removed by destroy()
        stack.json          0600: ports, keys, pids
        <component>.json    0600: what the component reads at its start
        logs/<component>.log
        postgres/           the cluster, unless the caller is root (see postgres/account.py)
"""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from flowstate_local import migrations, processes, project
from flowstate_local.components import COMPONENTS
from flowstate_local.errors import LocalStackError, StackNotStartedError
from flowstate_local.hold import hold
from flowstate_local.lifeline import Lifeline, unwinding_on_sigterm
from flowstate_local.removal import remove_stack
from flowstate_local.runner import Runner, log_path
from flowstate_local.state import StackInfo, State


class LocalStack:
    """One stack, in one folder. Make it with `create` or `throw_away`."""

    def __init__(
        self,
        directory: Path,
        *,
        components: Sequence[str],
        asked_ports: dict[str, int],
        throw_away: bool,
        durable: bool,
    ) -> None:
        self.directory = directory
        self.components = tuple(name for name in COMPONENTS if name in components)
        self._asked_ports = asked_ports
        self._throw_away = throw_away
        self._durable = durable

    @classmethod
    def create(
        cls,
        directory: Path,
        *,
        components: Sequence[str] = COMPONENTS,
        api_port: int = 0,
        db_port: int = 0,
        throw_away: bool = False,
        durable: bool = True,
    ) -> LocalStack:
        """The stack in `directory`, new or known. Nothing is written or started yet.

        Args:
            directory: ours alone; made by `start()`.
            components: which to run, of `COMPONENTS`.
            api_port: the gateway's port; 0: the one it had, or a free one.
            db_port: the same for Postgres.
            throw_away: for `LocalStack.throw_away`: the stack ends with the process that made it.
            durable: False lets a crash of the machine lose data, for speed.

        Raises:
            LocalStackError: an unknown component.
        """
        unknown = sorted(set(components) - set(COMPONENTS))
        if unknown:
            raise LocalStackError(
                f"components has {', '.join(unknown)}; there are {', '.join(COMPONENTS)}"
            )
        return cls(
            Path(directory).absolute(),
            components=components,
            asked_ports={"api_port": api_port, "db_port": db_port},
            throw_away=throw_away,
            durable=durable,
        )

    @classmethod
    @contextmanager
    def throw_away(
        cls,
        *,
        components: Sequence[str] = COMPONENTS,
        api_port: int = 0,
        db_port: int = 0,
        durable: bool = False,
    ) -> Iterator[LocalStack]:
        """A started stack in a temporary folder, gone after the block.

        It also goes when this process ends in any other way: by SIGTERM, which unwinds the block,
        or without warning, which a small helper process notices.
        """
        directory = Path(tempfile.mkdtemp(prefix="flowstate-"))
        stack = cls.create(
            directory, components=components, api_port=api_port, db_port=db_port,
            throw_away=True, durable=durable,
        )  # fmt: skip
        with unwinding_on_sigterm(), Lifeline(directory):
            try:
                stack.start()
                yield stack
            finally:
                stack.destroy()

    # ------------------------------------------------------------------------------------ asking

    @property
    def info(self) -> StackInfo:
        """Addresses and keys.

        Raises:
            StackNotStartedError: the stack was never started.
        """
        state = self._known_state()
        pids = {
            name: process.pid
            for name, process in state.processes.items()
            if processes.is_running(process)
        }
        return state.info(pids)

    def is_running(self, name: str) -> bool:
        """Whether the component runs now."""
        state = State.load(self.directory)
        process = state.processes.get(name) if state else None
        return process is not None and processes.is_running(process)

    def log(self, name: str) -> Path:
        """The component's log file."""
        return log_path(self.directory, name)

    # ----------------------------------------------------------------------------------- starting

    def start(self, *names: str) -> None:
        """Start what does not run: the named components, or all of the stack's. Repeatable.

        A new folder gets new keys and a bootstrapped cluster. A component whose settings changed
        since (a port that moved) is started again.

        Raises:
            PortTakenError: a port that was asked for is in use.
            ComponentFailedError: a component did not become ready; the others keep running.
            UnsupportedPlatformError: a part has no binary for this machine.
        """
        wanted = [name for name in COMPONENTS if name in (names or self.components)]
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with hold(self.directory):
            runner = Runner(self._load_or_make(), self.directory)
            runner.choose_ports(wanted, self._asked_ports)
            self.log("postgres").parent.mkdir(mode=0o700, exist_ok=True)
            if "postgres" in wanted:
                runner.start_postgres()
            runner.start_others([name for name in wanted if name != "postgres"])

    def push_migrations(self, workdir: Path | None = None) -> str:
        """Apply what is new in `supabase/migrations` with the official CLI; have the API serve it.

        Args:
            workdir: the folder that holds `supabase/`; the checkout when not given.

        Returns:
            The CLI's output.

        Raises:
            MigrationsFailedError: the CLI refused; its output is in the message.
        """
        output = self.run_supabase("db", "push", workdir=workdir)
        self.reload_schema()
        return output

    def run_supabase(self, *command: str, workdir: Path | None = None) -> str:
        """Run a command of the official CLI against this database, such as `db advisors`."""
        return migrations.run_cli(
            list(command),
            self.info.db_url,
            workdir=workdir or project.project_root(),
            home=self.directory / "supabase-cli",
        )

    def reload_schema(self) -> None:
        """Wait until the API serves the schema as it is now; without PostgREST, nothing to do."""
        if self.is_running("postgrest"):
            info = self.info
            migrations.wait_until_served(
                info.admin_db_url, info.postgrest_url, info.service_role_key
            )

    # ----------------------------------------------------------------------------------- stopping

    def stop(self, *names: str) -> None:
        """Stop the named components, or all, cleanly and in order. Keys, ports and data stay."""
        if not self.directory.exists():
            return
        with hold(self.directory):
            state = State.load(self.directory)
            if state:
                Runner(state, self.directory).stop(names or COMPONENTS)

    def kill(self, name: str, mode: Literal["immediate", "sigkill"] = "immediate") -> None:
        """End a component as a crash would, for fault tests.

        `immediate` has Postgres drop everything without a checkpoint (SIGQUIT); `sigkill` kills
        only its postmaster. Other components get SIGKILL either way.
        """
        gentle = name == "postgres" and mode == "immediate"
        with hold(self.directory):
            runner = Runner(self._known_state(), self.directory)
            runner.kill(name, signal.SIGQUIT if gentle else signal.SIGKILL)

    def destroy(self) -> None:
        """Stop everything and remove data, keys and logs. Nothing happens where no stack is."""
        remove_stack(self.directory, throw_away=self._throw_away)

    def _known_state(self) -> State:
        state = State.load(self.directory)
        if state is None:
            raise StackNotStartedError(
                f"there is no stack in {self.directory}; start one first (`flowstate up`)"
            )
        return state

    def _load_or_make(self) -> State:
        state = State.load(self.directory)
        if state is None:
            strangers = [each.name for each in self.directory.iterdir() if each.name != ".hold"]
            if strangers:
                raise LocalStackError(
                    f"{self.directory} is not empty ({strangers[0]}) and holds no stack; "
                    "name another folder, it becomes the stack's own"
                )
            state = State.fresh(
                components=self.components, durable=self._durable, throw_away=self._throw_away
            )
        state.components = list(self.components)
        state.durable = self._durable
        return state
