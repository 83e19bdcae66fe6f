"""`flowstate db push` against databases in each state that it can meet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from flowstate_cli.sql.workflow import compile_migration
from flowstate_local import LocalStack

from .conftest import CHECKOUT, FlowState
from .project import NOON, VIEW, Project


@pytest.fixture(scope="module")
def empty() -> Iterator[LocalStack]:
    """A database and an API without any migration."""
    with LocalStack.throw_away(components=("postgres", "postgrest", "gateway")) as started:
        yield started


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path)
    (tmp_path / "node_modules").symlink_to(CHECKOUT / "node_modules")
    return made


@pytest.fixture
def flowstate(empty: LocalStack, project: Project) -> FlowState:
    with psycopg.connect(empty.info.admin_db_url) as connection:
        connection.execute("drop schema if exists supabase_migrations cascade")
    return FlowState({**empty.info.environment(), "FLOWSTATE_PROJECT": str(project.root)})


def test_pending_migrations_are_listed_then_applied_once(
    flowstate: FlowState, project: Project
) -> None:
    project.write("views/busy.sql", VIEW)
    name = Path(project.compile("first").path).name
    assert flowstate.json("db", "push", "--dry-run") == {"migrations": [name], "applied": False}
    assert flowstate.json("db", "push") == {"migrations": [name], "applied": True}
    assert flowstate.json("db", "push") == {"migrations": [], "applied": False}
    with psycopg.connect(flowstate.environment["FLOWSTATE_DATABASE_URL"]) as connection:
        assert connection.execute("select one from public.busy").fetchall() == [(1,)]


def test_functions_may_call_what_a_later_file_makes(
    flowstate: FlowState, project: Project, empty: LocalStack
) -> None:
    project.write(
        "functions/a.sql",
        "create or replace function public.a() returns int language sql as 'select public.b()';",
    )
    project.write(
        "functions/b.sql",
        "create or replace function public.b() returns int language sql as 'select 7';",
    )
    compile_migration(
        project.root, "functions", amend=False, dry_run=False, now=NOON.replace(hour=13)
    )
    result = flowstate("db", "push")
    assert result.exit_code == 0, result.stderr
    with psycopg.connect(empty.info.db_url) as connection:
        assert connection.execute("select public.a()").fetchall() == [(7,)]


def test_a_failing_migration_is_reported_and_leaves_nothing(
    flowstate: FlowState, project: Project, empty: LocalStack
) -> None:
    path = project.root / "supabase/migrations/20270101000000_broken.sql"
    path.write_text("create table public.half (); select no_such();")
    result = flowstate("db", "push")
    assert result.exit_code == 1
    assert "no_such() does not exist" in result.stderr
    assert "one transaction" in result.stderr
    with psycopg.connect(empty.info.db_url) as connection:
        assert connection.execute("select to_regclass('public.half')").fetchall() == [(None,)]


def test_a_database_that_is_ahead_of_the_checkout_is_left_alone(
    flowstate: FlowState, project: Project
) -> None:
    project.write("views/busy.sql", VIEW)
    path = project.root / project.compile("first").path
    assert flowstate("db", "push").exit_code == 0
    path.unlink()
    result = flowstate("db", "push")
    assert result.exit_code == 1
    assert "a migration that this project does not: 20261121120100" in result.stderr


def test_the_password_is_in_no_output(flowstate: FlowState) -> None:
    password = flowstate.environment["FLOWSTATE_DATABASE_URL"].split(":")[2].split("@")[0]
    result = flowstate("db", "push")
    assert password not in result.output
    url = flowstate.environment["FLOWSTATE_DATABASE_URL"].replace(password, "wrong")
    refused = flowstate("db", "push", FLOWSTATE_DATABASE_URL=url)
    assert refused.exit_code == 3
    assert "refused the password of postgres" in refused.stderr
    assert "wrong@" not in refused.output


def test_a_database_that_is_not_there_is_said_so(flowstate: FlowState) -> None:
    result = flowstate("db", "push", FLOWSTATE_DATABASE_URL="postgresql://postgres@127.0.0.1:1/x")
    assert result.exit_code == 3
    assert "Postgres at 127.0.0.1:1 is not reachable" in result.stderr
    assert "flowstate up" in result.stderr


def test_a_role_without_rights_is_said_so(flowstate: FlowState, empty: LocalStack) -> None:
    with psycopg.connect(empty.info.admin_db_url, autocommit=True) as connection:
        connection.execute("create role stranger login password 'stranger'")
        connection.execute("create schema supabase_migrations")
        connection.execute("create table supabase_migrations.schema_migrations (version text)")
    url = f"postgresql://stranger:stranger@127.0.0.1:{empty.info.ports['db_port']}/postgres"
    result = flowstate("db", "push", FLOWSTATE_DATABASE_URL=url)
    assert result.exit_code == 1
    assert "The database refused: permission denied" in result.stderr


def test_a_missing_supabase_cli_is_said_so(
    flowstate: FlowState, project: Project, tmp_path: Path
) -> None:
    (project.root / "node_modules").unlink()
    result = flowstate("db", "push", PATH=str(tmp_path))
    assert result.exit_code == 3
    assert "The Supabase CLI is not installed" in result.stderr


def test_without_migrations_the_api_says_to_push_them(flowstate: FlowState) -> None:
    for command in (("queue", "status"), ("flows", "list"), ("logs",), ("instances", "list")):
        result = flowstate(*command)
        assert result.exit_code == 3, result.output
        assert "Run: flowstate db push" in result.stderr


def test_the_password_is_no_argument_of_a_process(flowstate: FlowState, project: Project) -> None:
    seen = project.root / "seen"
    (project.root / "node_modules").unlink()
    program = project.root / "node_modules" / ".bin" / "supabase"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" "secret $PGPASSWORD" > {seen}\n')
    program.chmod(0o755)
    assert flowstate("db", "push").exit_code == 0
    *arguments, secret = seen.read_text().splitlines()
    password = flowstate.environment["FLOWSTATE_DATABASE_URL"].split(":")[2].split("@")[0]
    assert secret == f"secret {password}"
    assert not [argument for argument in arguments if password in argument]
