"""`flowstate db compile` as one call: read the project, plan, write the migration."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from flowstate_cli.errors import BadInputError, RefusedError
from flowstate_cli.sql.compile import next_version, plan
from flowstate_cli.sql.ledger import Migration, read_migrations, recorded_state
from flowstate_cli.sql.sources import read_sources

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


@dataclass(frozen=True)
class Compiled:
    """What was compiled. `text` is None when nothing changed; `newer` are migrations after it."""

    path: str
    text: str | None
    changed: list[str]
    dependents: list[str]
    removed: list[str]
    drops: list[str]
    newer: list[str]


def compile_migration(
    project: Path, name: str, *, amend: bool, dry_run: bool, now: datetime
) -> Compiled:
    """Writes the migration, unless `dry_run` is set or nothing changed.

    Raises BadInputError for a name or a source that cannot be right, RefusedError where `amend`
    may not be used or would leave an empty migration.
    """
    if name and not _NAME.fullmatch(name):
        raise BadInputError(
            f"{name!r} is not lower-case letters, digits and underscores, starting with a letter.",
            field="name",
        )
    sources = read_sources(project)
    migrations = read_migrations(project)
    amended = _amended(project, migrations) if amend else None
    kept = [migration for migration in migrations if migration is not amended]
    planned = plan(sources, recorded_state(kept))
    if amended is not None:
        if planned.is_empty:
            raise RefusedError(
                f"Without {amended.path.name} nothing would be left to compile.",
                hint="Delete that migration instead.",
            )
        version = amended.version
        path = amended.path.with_name(f"{version}_{name or amended.name}.sql")
    else:
        version = next_version(migrations, now)
        path = project / "supabase" / "migrations" / f"{version}_{name}.sql"
    text = None if planned.is_empty else planned.text()
    if text is not None and not dry_run:
        if amended is not None and amended.path != path:
            amended.path.unlink()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return Compiled(
        path=path.relative_to(project).as_posix(),
        text=text,
        changed=[source.path for source in planned.changed],
        dependents=[source.path for source in planned.dependents],
        removed=list(planned.removed),
        drops=[item.drop() for item in planned.drops],
        newer=[migration.path.name for migration in kept if migration.version > version],
    )


def _amended(project: Path, migrations: list[Migration]) -> Migration:
    compiled = [migration for migration in migrations if migration.is_compiled]
    if not compiled:
        raise RefusedError(
            "There is no compiled migration to amend.", hint="Run: flowstate db compile <name>"
        )
    releases = _release_tags(project)
    if releases:
        raise RefusedError(
            f"--amend is only for the time before the first release, and {releases[0]} exists: "
            "databases hold its migrations.",
            hint="Compile a new migration: flowstate db compile <name>",
        )
    return compiled[-1]


def _release_tags(project: Path) -> list[str]:
    """Release tags of the project's repository; none where there is no git."""
    try:
        listing = subprocess.run(
            ["git", "tag", "--list", "v[0-9]*"],
            cwd=project,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return []
    return listing.stdout.split()
