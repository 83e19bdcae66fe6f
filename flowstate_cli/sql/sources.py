"""The sources under `sql/`: found, named, hashed and parsed."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from flowstate_cli.errors import BadInputError
from flowstate_cli.sql.objects import SqlObject, created_objects
from flowstate_cli.sql.scanner import SqlSyntaxError, statements

# The order in which a migration runs them: views, indexes and policies call functions. Function
# bodies are not checked while it runs, so functions may mention views and each other.
FOLDERS = ("functions", "views", "indexes", "policies")
_FILE_NAME = re.compile(r"[a-z0-9][a-z0-9_]*\.sql")


@dataclass(frozen=True)
class Source:
    """One file. `path` is relative to the project with forward slashes: it is its identity."""

    path: str
    text: str
    sha256: str
    objects: tuple[SqlObject, ...]


def read_sources(project: Path) -> list[Source]:
    """All sources in the order in which they are compiled.

    Raises BadInputError naming the file and line for whatever cannot be compiled.
    """
    root = project / "sql"
    if not root.is_dir():
        raise BadInputError(
            f"There is no folder sql/ in {project}.", hint="Run this in the project."
        )
    _refuse_strays(project, root)
    found: list[Source] = []
    for folder in FOLDERS:
        paths = sorted((root / folder).rglob("*.sql"), key=lambda path: path.parts)
        found.extend(_read(project, folder, path) for path in paths)
    _refuse_doubles(found)
    return found


def sha256_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _read(project: Path, folder: str, path: Path) -> Source:
    relative = path.relative_to(project).as_posix()
    if not _FILE_NAME.fullmatch(path.name):
        raise BadInputError(
            f"{relative}: the file's name must be lower-case letters, digits and underscores.",
            field="file name",
        )
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(f"{relative} cannot be read as UTF-8 text: {error}") from error
    try:
        objects = created_objects(folder, statements(text))
    except SqlSyntaxError as error:
        raise BadInputError(f"{relative}:{error.line}: {error}.") from error
    return Source(relative, text, sha256_of(text), tuple(objects))


def _refuse_strays(project: Path, root: Path) -> None:
    for path in sorted(root.rglob("*.sql")):
        if path.relative_to(root).parts[0] not in FOLDERS:
            raise BadInputError(
                f"{path.relative_to(project).as_posix()} is in none of the folders that are "
                f"compiled: {', '.join(f'sql/{name}/' for name in FOLDERS)}.",
                hint="Move the file; nothing else under sql/ is read.",
            )


def _refuse_doubles(sources: list[Source]) -> None:
    owner: dict[tuple[str, str], str] = {}
    for source in sources:
        for item in source.objects:
            if item.key in owner:
                raise BadInputError(
                    f"{item} is created twice: in {owner[item.key]} and {source.path}."
                )
            owner[item.key] = source.path
