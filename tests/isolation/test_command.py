"""`flowstate policies check`: what it prints, how it ends, and that it leaves nothing behind."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from typer.testing import CliRunner, Result

from flowstate_cli.main import app
from tests.stacks import Database

Check = Callable[..., Result]

NOTES = """
create table public.notes (id int generated always as identity primary key,
                           user_id uuid not null, body text not null);
alter table public.notes enable row level security;
revoke all on public.notes from anon, authenticated, service_role;
grant select on public.notes to authenticated;
create policy own on public.notes for select to authenticated
using ((select auth.uid()) = user_id);
"""
NOTES_RULES = """
[tables.notes]
own = "s"
[tables.notes.sample]
user_id = "$user"
body = "'text'"
[sequences.notes_id_seq]
about = "An identity column needs no grant."
"""


@pytest.fixture
def check(database_url: str) -> Check:
    """The command, on the migrated database."""

    def run(*arguments: str, url: str = database_url) -> Result:
        environment = {"FLOWSTATE_DATABASE_URL": url, "NO_COLOR": "1"}
        return CliRunner().invoke(app, ["policies", "check", *arguments], env=environment)

    return run


@contextmanager
def changed(database: psycopg.Connection, statement: str, undo: str) -> Iterator[None]:
    database.execute(statement.encode())
    try:
        yield
    finally:
        database.execute(undo.encode())


def document(result: Result) -> Any:
    """The whole of stdout has to be one document."""
    return json.loads(result.stdout)


def test_a_row_for_each_object_and_a_column_for_each_caller(check: Check) -> None:
    result = check()
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["object", "anon", "own", "other", "support", "admin", "owner", "service"] in lines
    assert ["table", "flows", "-", "siud", "-", "-", "-", "-", "siud"] in lines
    assert ["function", "delete_user", "-", "-", "-", "-", "-", "x", "x"] in lines
    assert ["topic", "ops", "-", "-", "-", "-", "s", "s", "spi"] in lines
    assert "seconds" in result.stderr
    assert "partitions.execution_logs_default" not in result.stdout
    assert "partitions.execution_logs_default" in check("--all").stdout


def test_json_has_what_was_found_and_what_is_expected(check: Check) -> None:
    result = check("--json")
    assert result.exit_code == 0, result.output
    found = document(result)
    assert found["ok"] is True
    objects = {(item["kind"], item["name"]): item for item in found["objects"]}
    flows = objects["table", "flows"]
    assert flows["found"] == flows["expected"]
    assert flows["found"]["own"] == "siud"
    assert flows["problems"] == []
    assert objects["partition of execution_logs", "partitions.execution_logs_default"]


def test_a_difference_ends_with_1_and_is_marked_and_named(
    check: Check, database: psycopg.Connection
) -> None:
    grant = "update (version) on public.flows"
    with changed(database, f"grant {grant} to authenticated", f"revoke {grant} from authenticated"):
        result = check()
        assert result.exit_code == 1
        assert "! table flows" in result.stdout
        assert "authenticated is granted update (version), and no rule says so" in result.stderr
        found = check("--json")
        assert found.exit_code == 1
        assert document(found)["ok"] is False


def test_a_letter_too_many_and_one_too_few_are_marked_in_the_table(
    check: Check, database: psycopg.Connection
) -> None:
    with changed(
        database,
        "revoke delete on public.flows from authenticated;"
        "grant insert on public.flow_versions to authenticated;"
        "create policy loose on public.flow_versions for insert to authenticated with check (true)",
        "grant delete on public.flows to authenticated;"
        "revoke insert on public.flow_versions from authenticated;"
        "drop policy loose on public.flow_versions",
    ):
        lines = [line.split() for line in check().stdout.splitlines()]
    assert ["!", "table", "flows", "-", "siu-d", "-", "-", "-", "-", "siud"] in lines
    assert ["!", "table", "flow_versions", "-", "s+i", "+i", "+i", "+i", "+i", "siud"] in lines


def test_tables_of_ones_own_need_rules_of_ones_own(
    check: Check, database: psycopg.Connection, tmp_path: Path
) -> None:
    rules = tmp_path / "ours.toml"
    rules.write_text(NOTES_RULES)
    with changed(database, NOTES, "drop table public.notes"):
        without = check()
        assert without.exit_code == 1
        assert "table notes: it has no rule" in without.stderr
        assert "[tables.notes.sample]" in without.stderr
        assert 'body = "<SQL expression>"' in without.stderr
        result = check("--rules", str(rules))
        assert result.exit_code == 0, result.output
    gone = check("--rules", str(rules))
    assert "table notes: it has a rule, and does not exist" in gone.stderr


def test_nothing_is_left_behind_and_nobody_hears_of_it(
    check: Check, database: psycopg.Connection, supabase_database: Database
) -> None:
    def counts() -> dict[str, int]:
        tables = database.execute(
            "select oid::regclass::text from pg_class where relkind = 'r'"
            " and relnamespace::regnamespace::text"
            " in ('public', 'private', 'partitions', 'auth', 'realtime')"
        ).fetchall()
        return {
            name: len(database.execute(f"select 1 from {name}".encode()).fetchall())
            for (name,) in tables
        }

    before = counts()
    with psycopg.connect(supabase_database.admin_url, autocommit=True) as listener:
        listener.execute("listen realtime_messages")
        assert check().exit_code == 0
        assert list(listener.notifies(timeout=0)) == []
    assert counts() == before
    assert len(before) > 50


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tables.notes", "is no TOML"),
        ('[tables.notes]\nown = "x"', "tables.notes.own"),
        ('[tables.notes]\nreader = "s"', "tables.notes.reader"),
        ('[functions.f]\npermission = "users.fire"', "there is no permission users.fire"),
        ('[permissions]\n"a.b" = ["king"]', "permissions.a.b"),
        ("\x00", "is no TOML"),
    ],
)
def test_rules_that_cannot_be_read_end_with_2(
    check: Check, tmp_path: Path, text: str, said: str
) -> None:
    rules = tmp_path / "ours.toml"
    rules.write_text(text)
    result = check("--rules", str(rules), "--json")
    assert result.exit_code == 2
    assert document(result)["error"]["field"] == "rules"
    assert said in result.stderr


def test_a_file_that_is_not_there_ends_with_2(check: Check, tmp_path: Path) -> None:
    result = check("--rules", str(tmp_path / "none.toml"))
    assert result.exit_code == 2
    assert "none.toml cannot be read" in result.stderr


@pytest.mark.parametrize("url", ["postgresql://postgres:x@127.0.0.1:1/postgres"])
def test_no_database_ends_with_3(check: Check, url: str) -> None:
    assert check(url=url).exit_code == 3
    assert check("--database-url", url).exit_code == 3


def test_a_database_without_flowstate_ends_with_3(
    check: Check, supabase_database: Database
) -> None:
    other = conninfo_to_dict(supabase_database.url)
    url = f"postgresql://{other['user']}:{other['password']}@{other['host']}:{other['port']}"
    result = check(url=f"{url}/template1")
    assert result.exit_code == 3
    assert "flowstate db push" in result.stderr


def test_a_role_that_cannot_act_as_others_is_refused(
    check: Check, supabase_database: Database
) -> None:
    name, password = "guest", secrets.token_hex(16)
    here = conninfo_to_dict(supabase_database.url)
    with psycopg.connect(supabase_database.admin_url, autocommit=True) as admin:
        admin.execute(f"create role {name} login password '{password}'".encode())
        try:
            url = f"postgresql://{name}:{password}@{here['host']}:{here['port']}/{here['dbname']}"
            result = check(url=url)
        finally:
            admin.execute(f"drop role {name}".encode())
    assert result.exit_code == 1
    assert "cannot act as anon" in result.stderr
    assert password not in result.output
