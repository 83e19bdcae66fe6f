"""The unprivileged account and its home, for callers who are root.

Postgres refuses to run as root, and rightly. A root caller's Postgres therefore runs as
`postgres`, or else as `nobody`. That account often cannot enter the folder of the stack: root's
home is closed, and so is a fresh `mktemp -d`. Opening those folders would change what others may
see, so nothing outside our own folders is touched; what the account needs goes to a home that it
can reach, the first suitable of /var/lib/flowstate, /var/tmp/flowstate and /tmp/flowstate:

    <home>/postgres/<digest>/  a copy of the server, once per version: root's, read-only to others
    <home>/data/<hash of the stack's folder>/  its cluster: the account's own; destroy() removes it

The home belongs to root and only root may write there: nobody can plant a binary for us to start.
The copy of the server (35 MB) stays for the next stack; `rm -r` of the home removes it.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import stat
import tempfile
from pathlib import Path

from flowstate_local.errors import LocalStackError
from flowstate_local.processes import Account

_HOMES = (Path("/var/lib/flowstate"), Path("/var/tmp/flowstate"), Path("/tmp/flowstate"))  # noqa: S108


def unprivileged_account() -> Account | None:
    """The account to start Postgres under; None when the caller is not root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(name, entry.pw_uid, entry.pw_gid)
    raise LocalStackError(
        "Postgres does not run as root, and neither an account `postgres` nor `nobody` exists; "
        "make one (useradd --system postgres) or run as another user"
    )


def others_may_enter(folder: Path) -> bool:
    """Whether any account can go into `folder`: it and every folder above is open to others."""
    folder = folder.resolve()
    return all(part.stat().st_mode & stat.S_IXOTH for part in (folder, *folder.parents))


def unprivileged_home() -> Path:
    """The first of the homes that is (or can be made) root's own and can be entered by all.

    Raises:
        LocalStackError: none of them will do.
    """
    for home in _HOMES:
        try:
            if not others_may_enter(home.parent):
                continue
            home.mkdir(mode=0o755, exist_ok=True)
            if _is_roots_own(home):
                home.chmod(0o755)  # whatever the umask was
                return home
        except OSError:
            continue
    raise LocalStackError(
        f"no folder for Postgres: {', '.join(map(str, _HOMES))} cannot be made, or are not root's "
        "own. Remove what is there, or run as a user other than root"
    )


def data_home(stack_directory: Path) -> Path:
    """Where the cluster of a root caller's stack lives: always the same, not yet made."""
    digest = hashlib.sha256(str(stack_directory.resolve()).encode()).hexdigest()[:16]
    return unprivileged_home() / "data" / digest


def reachable_copy(install: Path, libraries: Path | None) -> Path:
    """A copy of `install` (and the shared `libraries` beside it) that the unprivileged account can
    reach.

    Made once for each content of the server's binary. Two makers at once are safe: each copies to
    a folder of its own and renames it into place; the second finds the place taken and drops its
    copy.
    """
    digest = hashlib.sha256((install / "bin" / "postgres").read_bytes()).hexdigest()[:16]
    shelf = unprivileged_home() / "postgres"
    shelf.mkdir(mode=0o755, exist_ok=True)
    shelf.chmod(0o755)
    place = shelf / digest
    if not place.exists():
        partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=shelf))
        try:
            shutil.copytree(install, partial / "package" / install.name, symlinks=True)
            if libraries is not None:
                shutil.copytree(libraries, partial / libraries.name, symlinks=True)
            _make_read_only(partial)
            partial.rename(place)
        except OSError:
            if not place.exists():
                raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    copied = place / "package" / install.name
    for part in (
        shelf,
        place,
        place / "package",
        copied,
        copied / "bin",
        copied / "bin" / "postgres",
    ):
        if not _is_roots_own(part):
            raise LocalStackError(
                f"{part} is not root's own, or others may write to it; remove {place}"
            )
    return copied


def _is_roots_own(path: Path) -> bool:
    """Root's, not a link, and not writable by anybody else."""
    found = path.lstat()
    return (
        not stat.S_ISLNK(found.st_mode)
        and found.st_uid == 0
        and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    )


def _make_read_only(tree: Path) -> None:
    """Root's, readable by all and writable by nobody else, whatever source and umask were."""
    for path in (tree, *tree.rglob("*")):
        if path.is_symlink():
            continue
        os.chown(path, 0, 0)
        runnable = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
        path.chmod(0o755 if runnable else 0o644)
