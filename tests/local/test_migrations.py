"""Migrations go through the official Supabase CLI, and the API serves them afterwards."""

from __future__ import annotations

import json
import signal
import threading
import urllib.request
from pathlib import Path

import psycopg
import pytest

from flowstate_local import LocalStack, MigrationsFailedError, processes
from flowstate_local.project import project_root
from tests.local.conftest import MakeStack

FIRST = """
create table public.notes (id int primary key, body text);
alter table public.notes enable row level security;
grant select on public.notes to service_role;
insert into public.notes values (1, 'served');
"""


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    """A project with one migration."""
    folder = tmp_path / "project" / "supabase" / "migrations"
    folder.mkdir(parents=True)
    (folder / "20260101000000_notes.sql").write_text(FIRST)
    return folder.parents[1]


@pytest.fixture
def served(make_stack: MakeStack) -> LocalStack:
    stack = make_stack(components=("postgres", "postgrest"))
    stack.start()
    return stack


def _ask(stack: LocalStack, path: str) -> object:
    info = stack.info
    request = urllib.request.Request(
        f"{info.postgrest_url}/{path}",
        headers={"Authorization": f"Bearer {info.service_role_key}"},
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def test_the_projects_migrations_apply_once(stack: LocalStack) -> None:
    with psycopg.connect(stack.info.db_url) as connection:
        rows = connection.execute(
            "select version from supabase_migrations.schema_migrations order by 1"
        ).fetchall()
    files = sorted((project_root() / "supabase" / "migrations").glob("*.sql"))
    assert [row[0] for row in rows] == [path.name.split("_")[0] for path in files]
    assert "up to date" in stack.push_migrations()


def test_the_official_advisors_find_no_error(stack: LocalStack) -> None:
    assert "No issues found" in stack.run_supabase("db", "advisors", "--fail-on", "error")


def test_the_api_serves_a_migration_once_the_push_returns(
    served: LocalStack, workdir: Path
) -> None:
    served.push_migrations(workdir)
    assert _ask(served, "notes") == [{"id": 1, "body": "served"}]
    (workdir / "supabase" / "migrations" / "20260102000000_more.sql").write_text(
        "alter table public.notes add column tag text default 'new';"
        " create function public.answer() returns int language sql return 42;"
    )
    served.push_migrations(workdir)
    assert _ask(served, "notes?select=tag") == [{"tag": "new"}]
    assert _ask(served, "rpc/answer") == 42


def test_a_reload_returns_only_when_the_api_has_read_the_schema(served: LocalStack) -> None:
    postgrest = processes.identify(served.info.pids["postgrest"])
    assert postgrest
    processes.send(postgrest, signal.SIGSTOP)
    reloading = threading.Thread(target=served.reload_schema)
    reloading.start()
    try:
        reloading.join(timeout=1)
        assert reloading.is_alive()
    finally:
        processes.send(postgrest, signal.SIGCONT)
        reloading.join()


def test_waiting_for_the_api_leaves_nothing_behind(served: LocalStack) -> None:
    served.reload_schema()
    with psycopg.connect(served.info.admin_db_url) as connection:
        rows = connection.execute(
            "select proname from pg_proc where pronamespace = 'graphql_public'::regnamespace"
        ).fetchall()
    assert rows == []


def test_the_api_notices_changed_tables_by_itself(served: LocalStack) -> None:
    """As on a hosted project: whoever makes a table need not tell PostgREST."""
    with psycopg.connect(served.info.admin_db_url, autocommit=True) as listener:
        listener.execute("listen pgrst")
        with psycopg.connect(served.info.db_url, autocommit=True) as connection:
            connection.execute("create table public.noticed (id int)")
            connection.execute("create temporary table unnoticed (id int)")
            connection.execute("drop table public.noticed")
        listener.execute("notify pgrst, 'end'")
        heard = []
        for notification in listener.notifies(timeout=20):
            if notification.payload == "end":
                break
            heard.append(notification.payload)
    assert heard == ["reload schema", "reload schema"]


def test_a_refused_migration_is_told_without_the_password(
    make_stack: MakeStack, workdir: Path
) -> None:
    stack = make_stack()
    stack.start()
    (workdir / "supabase" / "migrations" / "20260102000000_bad.sql").write_text(
        "create table public.bad (id no_such_type);"
    )
    with pytest.raises(MigrationsFailedError) as failed:
        stack.push_migrations(workdir)
    assert "no_such_type" in str(failed.value)
    password = psycopg.conninfo.conninfo_to_dict(stack.info.db_url)["password"]
    assert str(password) not in str(failed.value)


def test_a_push_leaves_the_project_folder_alone(make_stack: MakeStack, workdir: Path) -> None:
    stack = make_stack()
    stack.start()
    before = sorted(workdir.rglob("*"))
    stack.push_migrations(workdir)
    assert sorted(workdir.rglob("*")) == before
