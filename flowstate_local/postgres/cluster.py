"""One Postgres cluster: made, started, waited for, and thrown away.

The server listens on 127.0.0.1 only, without a Unix socket (whose path may not be longer than 107
bytes), and asks every connection for a password (scram). Its superuser is `supabase_admin`, as on
a hosted project.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psycopg

from flowstate_local import processes
from flowstate_local.errors import ComponentFailedError, LocalStackError
from flowstate_local.postgres.binaries import Binaries
from flowstate_local.processes import Account, ProcessId

SUPERUSER = "supabase_admin"

# Sized for a laptop or a small build machine. Statements and row values stay out of the log: they
# can hold mail.
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "password_encryption": "scram-sha-256",
    "shared_buffers": "128MB",
    "effective_cache_size": "512MB",
    "maintenance_work_mem": "64MB",
    "max_wal_size": "1GB",
    "random_page_cost": "1.1",
    "jit": "off",
    "wal_level": "logical",
    "max_wal_senders": "5",
    "max_replication_slots": "5",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
}
# A crash of the machine may lose everything, a killed server nothing: commits reach the kernel.
_NOT_DURABLE = {"fsync": "off", "full_page_writes": "off"}

_STARTUP_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Where a cluster lives and how its server runs. `home` is ours alone; the data lies below."""

    home: Path
    binaries: Binaries
    account: Account | None
    log: Path
    durable: bool

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def settings(self) -> Path:
        return self.home / "postgresql.conf"

    @property
    def exists(self) -> bool:
        """Whether initdb ran to its end here."""
        return (self.home / "made").exists()

    def make(self, superuser_password: str) -> None:
        """Run initdb in an empty home; what an interrupted run left is removed first.

        A root caller writes nothing into a folder that the account could change meanwhile.

        Raises:
            LocalStackError: initdb failed; carries its output.
        """
        remove(self.home)
        self.home.mkdir(mode=0o700, parents=True)
        self.data.mkdir(mode=0o700)
        password_file = self.home / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(superuser_password)
        if self.account:
            for folder in (self.home.parent, self.home):
                folder.chmod(0o755)  # the account passes through, to `data`
            for path in (self.data, password_file):
                os.chown(path, self.account.uid, self.account.gid)
        command: list[str | Path] = [
            self.binaries["initdb"], "--pgdata", self.data, "--username", SUPERUSER,
            "--pwfile", password_file, "--auth", "scram-sha-256", "--encoding", "UTF8",
            "--no-instructions", *self._locale(), *([] if self.durable else ["--no-sync"]),
        ]  # fmt: skip
        account = self.account
        try:
            made = subprocess.run(
                command,
                capture_output=True,
                text=True,
                check=False,
                cwd=self.home,
                env=_environment(),
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
            )
        finally:
            password_file.unlink()
        if made.returncode != 0:
            raise LocalStackError(f"initdb failed in {self.home}:\n{made.stderr.strip()[-2000:]}")
        (self.home / "made").touch()

    def spawn(self, port: int) -> ProcessId:
        """Start the server on 127.0.0.1:`port`; it is not ready yet (see `wait_ready`)."""
        self._write_settings(port)
        self._clear_stale_pid()
        return self._run()

    def wait_ready(self, process: ProcessId, url: str, *, secrets: list[str]) -> ProcessId:
        """Wait until the server answers on `url`. Returns its process.

        After a postmaster was killed, its children hold the shared memory for a moment and the
        next one refuses to start; that one is started again.

        Raises:
            ComponentFailedError: it ended or did not answer in time.
        """
        current = process

        def answers() -> bool:
            nonlocal current
            if not processes.is_running(current):
                if "shared memory block" not in processes.log_tail(self.log, secrets=(), lines=5):
                    raise ComponentFailedError(self._story("ended while starting", secrets))
                current = self._run()
            try:
                psycopg.connect(url, connect_timeout=5).close()
            except psycopg.OperationalError:
                return False
            return True

        if not processes.wait_for(answers, seconds=_STARTUP_SECONDS):
            processes.stop(current, how=signal.SIGQUIT, grace_seconds=5)
            raise ComponentFailedError(
                self._story(f"did not answer within {_STARTUP_SECONDS:.0f} s", secrets)
            )
        return current

    def _run(self) -> ProcessId:
        return processes.spawn(
            [self.binaries["postgres"], "-D", self.data, "-c", f"config_file={self.settings}"],
            log=self.log,
            environment=_environment(),
            directory=self.home,
            account=self.account,
        )

    def _locale(self) -> list[str]:
        if self.binaries.major >= 17:
            return ["--locale-provider", "builtin", "--builtin-locale", "C.UTF-8", "--locale", "C"]
        return ["--locale", "C.UTF-8" if os.uname().sysname == "Linux" else "en_US.UTF-8"]

    def _write_settings(self, port: int) -> None:
        settings = {**_SETTINGS, **({} if self.durable else _NOT_DURABLE), "port": str(port)}
        text = "".join(f"{name} = '{value}'\n" for name, value in settings.items())
        self.settings.write_text("# Written at every start.\n" + text)
        self.settings.chmod(0o644)  # whatever the umask was; nothing in it is secret

    def _clear_stale_pid(self) -> None:
        """Remove a postmaster.pid whose number belongs to no server of this data any more.

        The server itself copes with one whose process is gone, but takes any live process of the
        same account for the old server.
        """
        if _running_postmaster(self.data) is None:
            (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _story(self, what: str, secrets: list[str]) -> str:
        tail = processes.log_tail(self.log, secrets=secrets)
        return f"Postgres {what}. The end of {self.log}:\n{tail}"


def remove(home: Path) -> None:
    """Remove a cluster and its home; a server that still runs on it is stopped first."""
    leftover = _running_postmaster(home / "data")
    if leftover:
        processes.stop(leftover, how=signal.SIGINT, grace_seconds=20)
    # Children of a killed postmaster may still write for a moment.
    processes.wait_for(lambda: _removed(home), seconds=10)
    if home.exists():
        raise LocalStackError(f"{home} could not be removed; is a process still using it?")


def _removed(home: Path) -> bool:
    shutil.rmtree(home, ignore_errors=True)
    return not home.exists()


def _running_postmaster(data: Path) -> ProcessId | None:
    """The live server of this data, by its own pid file; None when the file is missing or stale."""
    try:
        pid = int((data / "postmaster.pid").read_text().splitlines()[0])
    except (FileNotFoundError, IndexError, ValueError):
        return None
    return processes.identify(pid) if str(data) in processes.command_line(pid) else None


def _environment() -> dict[str, str]:
    """Nothing of the caller's: PG* variables and locales would change what the server does."""
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
