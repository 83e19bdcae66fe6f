"""Everything that is kept about a user, page by page into a zip file of JSON Lines files.

The file grows under another name, readable by its owner alone, and gets its own name when it is
complete. Memory holds a page of rows.
"""

from __future__ import annotations

import json
import os
import secrets
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from flowstate_cli.api import Api, Row
from flowstate_cli.errors import BadInputError

_PAGE = 200  # rows of history may be large


def refuse_existing(path: Path, field: str) -> None:
    """Raises BadInputError where `path` is taken, or its folder is not there."""
    if path.exists() or path.is_symlink():
        raise BadInputError(f"{path} exists already.", field=field, hint="Choose another name.")
    if not path.parent.is_dir():
        raise BadInputError(f"There is no folder {path.parent}.", field=field)


def write_export(
    api: Api, user_id: str, path: Path, field: str, *, told: Callable[[str, int], None]
) -> dict[str, int]:
    """Rows by data set. `told` hears of each data set once it is written.

    It is no snapshot: what changes meanwhile may be in it or not.
    """
    counts: dict[str, int] = {}
    now = datetime.now(UTC)
    overview: Row = api.rpc("export_user_data", {"user_id": user_id})
    with (
        _new_file(path, field) as stream,
        zipfile.ZipFile(stream, "w") as archive,
    ):
        for name in overview.pop("datasets"):
            with archive.open(_member(f"{name}.jsonl", now), "w", force_zip64=True) as member:
                counts[name] = _write_rows(member, _rows(api, user_id, name))
            told(name, counts[name])
        about = {**overview, "exported_at": now.isoformat(), "rows": counts}
        archive.writestr(_member("export.json", now), json.dumps(about, indent=2) + "\n")
    return counts


def _member(name: str, now: datetime) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(name, now.timetuple()[:6])
    made.compress_type = zipfile.ZIP_DEFLATED
    return made


def _rows(api: Api, user_id: str, dataset: str) -> Iterator[Row]:
    after: Row | None = None
    while True:
        arguments = {"user_id": user_id, "dataset": dataset, "after": after, "max": _PAGE}
        page = api.rpc("export_user_data", arguments)
        yield from page["rows"]
        after = page["next"]
        if after is None:
            return


def _write_rows(member: IO[bytes], rows: Iterator[Row]) -> int:
    written = 0
    for row in rows:
        member.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        written += 1
    return written


@contextmanager
def _new_file(path: Path, field: str) -> Iterator[IO[bytes]]:
    """A stream that becomes `path` when the block ends well, and nothing otherwise."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise BadInputError(f"{path} cannot be made: {error.strerror}.", field=field) from error
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(descriptor)
        _give_name(partial, path)
    except FileExistsError as error:
        raise BadInputError(f"{path} exists already.", field=field) from error
    except OSError as error:
        raise BadInputError(f"{path} cannot be written: {error.strerror}.", field=field) from error
    finally:
        partial.unlink(missing_ok=True)


def _give_name(partial: Path, path: Path) -> None:
    """For good: what was exported may be deleted next. Raises FileExistsError, never replaces."""
    try:
        path.hardlink_to(partial)
    except FileExistsError:
        raise
    except OSError:  # a file system without links; a rename would replace what is there
        if path.exists():
            raise FileExistsError from None
        partial.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
