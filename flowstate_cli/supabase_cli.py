"""The official Supabase CLI, run as a program: it is what applies migrations.

The password goes through the environment, because a process's arguments are readable by others.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from psycopg.conninfo import conninfo_to_dict

from flowstate_cli.errors import NotReachableError, RefusedError

_NOISE = ("without TLS", "Try rerunning the command", "│", "Finished supabase", "Confirmed by")


def find_supabase(project: Path) -> str:
    """The program: the project's own before one on the PATH. Raises NotReachableError."""
    own = project / "node_modules" / ".bin" / "supabase"
    found = str(own) if own.exists() else shutil.which("supabase")
    if found is None:
        raise NotReachableError(
            "The Supabase CLI is not installed.",
            hint="Run `make setup` in the project, or `npm install supabase`.",
        )
    if shutil.which("node", path=_path()) is None:
        raise NotReachableError(
            "The Supabase CLI needs Node, and there is no `node` on the PATH.",
            hint="Install Node 20 or newer, or run `make setup`, which brings one.",
        )
    return found


def _path() -> str:
    """The PATH, and after it this environment's programs: `make setup` may have put Node there."""
    return os.pathsep.join([os.environ.get("PATH", ""), str(Path(sys.executable).parent)])


def push(project: Path, database_url: str, *, dry_run: bool, tell: Callable[[str], None]) -> None:
    """`supabase db push`; every line that it prints goes to `tell`. Raises RefusedError."""
    parts = conninfo_to_dict(database_url)
    address, password = _without_password(database_url, str(parts.get("password") or ""))
    command = [find_supabase(project), "db", "push", "--yes", f"--remote={address}"]
    if dry_run:
        command.append("--dry-run")
    environment = {**os.environ, "PATH": _path(), "DO_NOT_TRACK": "1"}
    if password:
        environment["PGPASSWORD"] = password
    process = subprocess.run(
        [*command, "--workdir", str(project)],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    lines = [line.rstrip() for line in process.stdout.splitlines()]
    shown = [line for line in lines if line and not any(noise in line for noise in _NOISE)]
    for line in shown:
        tell(line)
    if process.returncode != 0:
        problem = next((line for line in shown if "ERROR" in line or "failed" in line), "see above")
        raise RefusedError(
            f"The migrations were not pushed: {problem}.",
            hint="A migration is one transaction: those before the failing one are applied, "
            "the failing one is not. Mend it and push again.",
        )


def _without_password(url: str, password: str) -> tuple[str, str]:
    """The address as a URL without its password, and the password."""
    parts = urlsplit(url)
    if parts.password is None:
        return url, password
    user, host = parts.username or "", parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{user}@{host}")), password
