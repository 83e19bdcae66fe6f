"""What the migrations already hold, read from the headers of the compiled ones.

A header is the block of comment lines at the top of a compiled migration:

    -- compiled from sql/ by `flowstate db compile`
    -- source sql/functions/admission.sql sha256:<64 hex digits>
    --   creates function public.enqueue(uuid, jsonb) shape:<16 hex digits>
    -- removed sql/policies/old.sql

Applied in the order of their versions, the headers give for each file the hash and the objects
that a database built from the migrations has.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from flowstate_cli.errors import BadInputError
from flowstate_cli.sql.objects import SqlObject
from flowstate_cli.sql.sources import Source

FIRST_LINE = "-- compiled from sql/ by `flowstate db compile`: edit sql/ and compile, not this file"
_SOURCE = re.compile(r"-- source (?P<path>\S+) sha256:(?P<sha256>[0-9a-f]{64})")
_CREATES = re.compile(
    r"--   creates (?P<kind>\w+) (?P<identity>.+?)(?: shape:(?P<shape>[0-9a-f]{16}))?"
)
_REMOVED = re.compile(r"-- removed (?P<path>\S+)")
_FILE_NAME = re.compile(r"(?P<version>\d{14})_(?P<name>[a-z][a-z0-9_]*)\.sql")


@dataclass(frozen=True)
class Migration:
    """One file of `supabase/migrations`."""

    path: Path
    version: str
    name: str
    text: str

    @property
    def is_compiled(self) -> bool:
        return self.text.startswith(FIRST_LINE)


@dataclass
class Recorded:
    """What the migrations say about one source; `migration` is the newest that contains it."""

    sha256: str
    migration: Migration
    objects: list[SqlObject] = field(default_factory=list)


def read_migrations(project: Path) -> list[Migration]:
    """All migrations, oldest first. Raises BadInputError for a name that is never pushed."""
    found: list[Migration] = []
    for path in sorted((project / "supabase" / "migrations").glob("*.sql")):
        match = _FILE_NAME.fullmatch(path.name)
        if match is None:
            raise BadInputError(
                f"supabase/migrations/{path.name} is not named YYYYMMDDHHMMSS_name.sql, so it "
                "would never be pushed."
            )
        text = path.read_text(encoding="utf-8")
        found.append(Migration(path, match["version"], match["name"], text))
    return found


def recorded_state(migrations: Iterable[Migration]) -> dict[str, Recorded]:
    """The compiled state after all these migrations, by source path."""
    state: dict[str, Recorded] = {}
    for migration in migrations:
        if migration.is_compiled:
            _apply_header(migration, state)
    return state


def header(sources: Iterable[Source], removed: Iterable[str]) -> str:
    """The block of comments that `recorded_state` reads back."""
    lines = [FIRST_LINE]
    for source in sources:
        lines.append(f"-- source {source.path} sha256:{source.sha256}")
        for item in source.objects:
            shape = f" shape:{item.shape}" if item.shape else ""
            lines.append(f"--   creates {item}{shape}")
    lines.extend(f"-- removed {path}" for path in removed)
    return "\n".join(lines) + "\n"


def _apply_header(migration: Migration, state: dict[str, Recorded]) -> None:
    current: Recorded | None = None
    for line in migration.text.splitlines()[1:]:
        if match := _SOURCE.fullmatch(line):
            current = state[match["path"]] = Recorded(match["sha256"], migration)
        elif (match := _CREATES.fullmatch(line)) and current is not None:
            current.objects.append(
                SqlObject(match["kind"], match["identity"], match["shape"] or "")
            )
        elif match := _REMOVED.fullmatch(line):
            state.pop(match["path"], None)
        elif line.startswith("--"):
            raise BadInputError(
                f"supabase/migrations/{migration.path.name}: the header line {line[:60]!r} is not "
                "one that the compiler writes.",
                hint="Restore the file from version control.",
            )
        else:
            return  # the header ends at the first line that is no comment
