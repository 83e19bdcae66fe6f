"""`flowstate db check`: both gates notice what they are there for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from flowstate_cli.errors import RefusedError
from flowstate_cli.sql.catalog import differences
from flowstate_cli.sql.check import stale_sources
from flowstate_cli.sql.sources import Source, read_sources
from flowstate_local import LocalStack

from .conftest import CHECKOUT, FlowState
from .project import FUNCTION, VIEW, Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path)
    made.standard()
    return made


@pytest.fixture
def in_project(project: Project) -> FlowState:
    return FlowState({"FLOWSTATE_PROJECT": str(project.root)})


def test_what_was_just_compiled_is_not_stale(project: Project, in_project: FlowState) -> None:
    assert stale_sources(project.root) == {}
    assert in_project.json("db", "check", "--offline")["ok"] is True


def test_each_stale_file_is_named_with_the_command_to_run(
    project: Project, in_project: FlowState
) -> None:
    project.write("functions/ids.sql", FUNCTION + "-- changed\n")
    project.write("views/new.sql", VIEW.replace("busy", "new"))
    project.remove("policies/flows.sql")
    assert stale_sources(project.root) == {
        "sql/functions/ids.sql": "changed since 20261121120100_first.sql",
        "sql/views/new.sql": "not in any migration",
        "sql/policies/flows.sql": "removed, but still in the migrations",
    }
    result = in_project("db", "check", "--offline")
    assert result.exit_code == 1
    assert "sql/views/new.sql: not in any migration" in result.stderr
    assert "flowstate db compile <name>" in result.stderr
    assert in_project.json("db", "check", "--offline", exit_code=1)["ok"] is False


def test_a_compiled_migration_edited_by_hand_is_noticed(project: Project) -> None:
    [path] = (project.root / "supabase" / "migrations").iterdir()
    path.write_text(path.read_text().replace("to authenticated", "to anon"))
    assert stale_sources(project.root) == {
        "sql/policies/flows.sql": "edited by hand inside 20261121120100_first.sql"
    }


def test_a_header_that_nobody_can_read_is_refused(project: Project, in_project: FlowState) -> None:
    [path] = (project.root / "supabase" / "migrations").iterdir()
    path.write_text(path.read_text().replace("-- source sql/f", "-- sauce sql/f"))
    result = in_project("db", "check", "--offline")
    assert result.exit_code == 2
    assert "is not one that the compiler writes" in result.stderr


# ------------------------------------------------------------- the second gate, on a real database


@pytest.fixture
def sources() -> list[Source]:
    return read_sources(CHECKOUT)


@pytest.fixture
def connection(stack: LocalStack) -> Iterator[psycopg.Connection]:
    with psycopg.connect(stack.info.db_url) as connected:
        yield connected


def test_a_database_built_from_the_migrations_is_what_the_sources_say(
    connection: psycopg.Connection, sources: list[Source]
) -> None:
    assert differences(connection, sources) == []


MUTATIONS = [
    # what somebody did to the database, how to undo it, and the object that is reported
    (
        "create function public.left_over(at timestamptz) returns int language sql as 'select 1'",
        "drop function public.left_over",
        ("function", "public.left_over(timestamp with time zone)", "no file under sql/"),
    ),
    (
        "create view public.left_over as select 1 as one",
        "drop view public.left_over",
        ("view", "public.left_over", "no file under sql/"),
    ),
    (
        "create policy left_over on public.flows using (true)",
        "drop policy left_over on public.flows",
        ("policy", "left_over on public.flows", "no file under sql/"),
    ),
    (
        "grant execute on function public.get_queue_status to anon",
        "revoke execute on function public.get_queue_status from anon",
        ("function", "public.get_queue_status()", "differs"),
    ),
    (
        "grant insert on public.flow_executions to authenticated",
        "revoke insert on public.flow_executions from authenticated",
        ("view", "public.flow_executions", "differs"),
    ),
    (
        "comment on function public.get_queue_status() is 'edited in Studio'",
        "",
        ("function", "public.get_queue_status()", "differs"),
    ),
    (
        "alter function public.get_queue_status() volatile",
        "",
        ("function", "public.get_queue_status()", "differs"),
    ),
]


@pytest.mark.parametrize(("change", "undo", "expected"), MUTATIONS)
def test_a_change_that_no_source_knows_is_reported(
    connection: psycopg.Connection,
    sources: list[Source],
    change: str,
    undo: str,
    expected: tuple[str, str, str],
) -> None:
    connection.execute(change.encode())
    connection.commit()
    try:
        [found] = differences(connection, sources)
    finally:
        if undo:
            connection.execute(undo.encode())
        else:
            for source in sources:
                connection.execute(source.text.encode())
        connection.commit()
    kind, identity, problem = expected
    assert (found.kind, found.identity) == (kind, identity)
    assert problem in found.problem


def test_the_comparison_leaves_nothing_behind(
    connection: psycopg.Connection, sources: list[Source]
) -> None:
    text = "create or replace function public.fresh() returns int language sql as 'select 1';"
    fresh = Source("sql/functions/fresh.sql", text, "", ())
    assert {found.identity for found in differences(connection, [*sources, fresh])} == {
        "public.fresh()"
    }
    assert differences(connection, sources) == []


def test_a_source_that_the_database_refuses_is_named(
    connection: psycopg.Connection, sources: list[Source]
) -> None:
    text = "create or replace function public.f() returns int language sql as 'select no_such()';"
    broken = Source("sql/functions/broken.sql", text, "", ())
    with pytest.raises(RefusedError, match=r"sql/functions/broken\.sql cannot be applied.*no_such"):
        differences(connection, [*sources, broken])
    assert differences(connection, sources) == []


def test_without_an_address_the_second_gate_makes_a_database_of_its_own(
    flowstate: FlowState,
) -> None:
    found = flowstate.json("db", "check")
    assert found == {"ok": True, "stale": [], "differences": [], "catalogs_compared": True}


def test_an_edited_policy_is_reported_with_both_texts(flowstate: FlowState) -> None:
    connection = psycopg.connect(flowstate.environment["FLOWSTATE_DATABASE_URL"], autocommit=True)
    with connection:
        row = connection.execute(
            "select polname, pg_get_expr(polqual, polrelid) from pg_policy "
            "where polrelid = 'public.flows'::regclass and polcmd = 'r'"
        ).fetchone()
        assert row is not None
        name, using = row
        connection.execute(f'alter policy "{name}" on public.flows using (true)'.encode())
        try:
            url = flowstate.environment["FLOWSTATE_DATABASE_URL"]
            result = flowstate("db", "check", "--database-url", url)
        finally:
            connection.execute(f'alter policy "{name}" on public.flows using ({using})'.encode())
    assert result.exit_code == 1
    assert "-using true" in result.stderr
    assert "+using (( SELECT auth.uid() AS uid) = user_id)" in result.stderr
