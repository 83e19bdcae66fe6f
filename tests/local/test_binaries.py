"""Which Postgres is run, and what is said when there is none."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowstate_local import LocalStackError, UnsupportedPlatformError
from flowstate_local.postgres.binaries import find_binaries


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every account may enter; pytest's own is closed to others."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_a_named_folder_without_a_server_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWSTATE_POSTGRES_BIN", str(tmp_path))
    with pytest.raises(LocalStackError, match="has no initdb and no postgres"):
        find_binaries()


def test_a_server_that_is_too_old_is_refused(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("initdb", "postgres"):
        program = open_folder / name
        program.write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 14.11'\n")
        program.chmod(0o755)
    monkeypatch.setenv("FLOWSTATE_POSTGRES_BIN", str(open_folder))
    with pytest.raises(LocalStackError, match="is Postgres 14; 15 or newer is needed"):
        find_binaries()


def test_without_a_wheel_the_ways_out_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLOWSTATE_POSTGRES_BIN", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UnsupportedPlatformError, match="FLOWSTATE_POSTGRES_BIN"):
        find_binaries()


def test_the_server_is_one_that_the_sql_is_written_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLOWSTATE_POSTGRES_BIN", raising=False)
    assert find_binaries().major >= 15
