"""Objects that an attacker names like ours, before calling functions that run as their owner."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from flowstate_cli.policies.callers import Caller, People
from flowstate_cli.policies.inventory import Function, Inventory, read_inventory
from flowstate_cli.policies.rules import Rules
from flowstate_cli.policies.samples import Samples
from tests.stacks import Database

SHADOWED_BUILT_INS = ("now()", "clock_timestamp()", "gen_random_uuid()", "length(pg_catalog.text)")

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
DEFINERS = """
select p.proname from pg_proc p
 where p.pronamespace = 'public'::regnamespace and p.prosecdef
   and has_function_privilege('authenticated', p.oid, 'execute')
"""


@dataclass(frozen=True)
class Stage:
    """A transaction with an owner of the project as the attacker: functions let them far in."""

    connection: psycopg.Connection
    rules: Rules
    inventory: Inventory
    people: People

    @contextmanager
    def acting(self, search_path: str) -> Iterator[None]:
        claims = {"role": "authenticated", "sub": self.people.staff[Caller.OWNER]}
        with self.connection.transaction(force_rollback=True):
            self.connection.execute(
                "select set_config('request.jwt.claims', %s, true),"
                " set_config('role', 'authenticated', true), set_config('search_path', %s, true)",
                (json.dumps(claims), search_path),
            )
            yield

    def outcome(self, function: Function, search_path: str) -> object:
        """What a call of it comes to: the shape of its answer, or the error."""
        with self.connection.transaction(force_rollback=True):
            rule = self.rules.functions[function.title]
            user = self.people.user if rule.permission else self.people.staff[Caller.OWNER]
            samples = Samples(self.connection, self.rules, self.inventory, user)
            values = samples.values(rule.call or {})
            arguments = ", ".join(f"{name} => %s" for name in values)
            query = f"select to_jsonb(f) from public.{function.name}({arguments}) f"
            try:
                with self.acting(search_path):
                    rows = self.connection.execute(query.encode(), list(values.values())).fetchall()
                    return [shape(row[0]) for row in rows]
            except psycopg.Error as error:
                return error.sqlstate, UUID.sub("<id>", error.diag.message_primary or "")


def shape(value: Any) -> object:
    """An answer without what differs from call to call."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value]
    return type(value).__name__ if isinstance(value, str) else value


@pytest.fixture
def stage(broken: psycopg.Connection, rules: Rules) -> Stage:
    inventory = read_inventory(broken, ("public", *rules.closed_schemas))
    return Stage(broken, rules, inventory, People.make(broken))


@pytest.fixture
def definers(stage: Stage) -> list[Function]:
    names = {name for (name,) in stage.connection.execute(DEFINERS)}
    found = [f for f in stage.inventory.functions if f.schema == "public" and f.name in names]
    assert len(found) > 10
    return found


def shadow_everything(stage: Stage, schema: str) -> None:
    """A table or a function that raises for each name of ours, and for some of Postgres' own."""
    functions = [
        f'"{function.name}"({", ".join(function.argument_types)})'
        for function in stage.inventory.functions
    ]
    statements = [
        f'create table {schema}."{relation.name}" (shadow int)'
        for relation in stage.inventory.relations
        if relation.schema != "partitions"
    ] + [
        f"create function {schema}.{function} returns int"
        " language plpgsql as $$ begin raise exception 'a shadow was used'; end $$"
        for function in (*functions, *SHADOWED_BUILT_INS)
    ]
    for statement in statements:
        with stage.connection.transaction():
            stage.connection.execute(statement.encode())


def test_a_shadow_is_used_by_who_does_not_name_the_schema(stage: Stage) -> None:
    stage.connection.execute("create schema attackers; grant usage on schema attackers to public")
    shadow_everything(stage, "attackers")
    shadow = pytest.raises(psycopg.errors.RaiseException, match="a shadow was used")
    with stage.acting("attackers, pg_catalog"), shadow:
        stage.connection.execute("select now()")


def test_a_schema_of_the_attackers_changes_no_functions_answer(
    stage: Stage, definers: list[Function]
) -> None:
    before = {f.name: stage.outcome(f, "public") for f in definers}
    stage.connection.execute(
        "create schema attackers; grant usage, create on schema attackers to authenticated"
    )
    shadow_everything(stage, "attackers")
    stage.connection.execute(
        "grant all on all tables in schema attackers to public;"
        "grant execute on all functions in schema attackers to public"
    )
    assert {f.name: stage.outcome(f, "attackers, public, pg_catalog") for f in definers} == before


def test_temporary_tables_and_functions_change_no_functions_answer(
    stage: Stage, definers: list[Function]
) -> None:
    before = {f.name: stage.outcome(f, "public") for f in definers}
    shadow_everything(stage, "pg_temp")
    stage.connection.execute("grant all on all tables in schema pg_temp to public")
    assert {f.name: stage.outcome(f, "pg_temp, public") for f in definers} == before


@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role"])
@pytest.mark.parametrize(
    "statement",
    [
        "create temporary table flows (id int)",
        "create function pg_temp.f() returns int language sql as 'select 1'",
        "create domain pg_temp.text as pg_catalog.text check (value is not null)",
        "create schema attackers",
        "create table public.shadow (id int)",
        "create function public.shadow() returns int language sql as 'select 1'",
        "create type public.jsonb as (a int)",
        "create table private.shadow (id int)",
        "alter table public.flows disable row level security",
        'drop policy "users read their own" on public.flows',
        "create policy mine on public.flows using (true)",
        "alter role authenticated bypassrls",
        "set role postgres",
        "copy public.flows to program 'cat'",
        "select pg_read_file('/etc/passwd')",
    ],
)
def test_no_role_of_the_api_can_make_or_change_an_object(
    supabase_database: Database, role: str, statement: str
) -> None:
    with psycopg.connect(supabase_database.admin_url) as connection:
        connection.execute("set session authorization authenticator")
        connection.execute("select set_config('role', %s, true)", (role,))
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement.encode())
        connection.rollback()
