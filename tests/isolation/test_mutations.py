"""Whatever guard is taken away, the matrix says so. The guards are found in the catalogs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import class_row

from flowstate_cli.policies.callers import SIGNED_IN, Caller
from flowstate_cli.policies.report import VERBS, Matrix
from flowstate_cli.policies.rules import Rules

from .conftest import matrix_of

SCHEMAS = ("public", "private", "partitions")


@dataclass(frozen=True)
class Policy:
    schema: str
    table: str
    name: str
    command: str
    using: str | None
    check: str | None

    @property
    def identity(self) -> sql.Composed:
        return sql.SQL("{} on {}").format(
            sql.Identifier(self.name), sql.Identifier(self.schema, self.table)
        )

    @property
    def lets_everybody_in(self) -> bool:
        return {self.using, self.check} <= {"true", None}

    def widened(self) -> sql.Composed:
        parts = [sql.SQL("alter policy"), self.identity]
        if self.using is not None:
            parts.append(sql.SQL("using (true)"))
        if self.check is not None:
            parts.append(sql.SQL("with check (true)"))
        return sql.SQL(" ").join(parts)

    def __str__(self) -> str:
        return f"{self.name} on {self.schema}.{self.table}"


def policies_of(connection: psycopg.Connection) -> list[Policy]:
    with connection.cursor(row_factory=class_row(Policy)) as cursor:
        found = cursor.execute(
            "select schemaname as schema, tablename as table, policyname as name, cmd as command,"
            " qual as using, with_check as check from pg_policies"
            " where schemaname in ('public', 'private', 'partitions', 'realtime') order by 1, 2, 3"
        ).fetchall()
    assert len(found) > 15
    return found


@contextmanager
def mutated(connection: psycopg.Connection, statement: str | sql.Composed) -> Iterator[None]:
    text = statement.encode() if isinstance(statement, str) else statement
    with connection.transaction(force_rollback=True):
        connection.execute(text)
        yield


def about(policy: Policy, rules: Rules, connection: psycopg.Connection) -> Matrix:
    """What the matrix says of the policy's table, or of all topics."""
    names = rules.topics if policy.schema == "realtime" else [policy.table]
    return matrix_of(connection, rules, *names)


def failing_names(matrix: Matrix) -> set[str]:
    return {found.name for found in matrix.failing}


def names_of(connection: psycopg.Connection, query: str) -> set[str]:
    found = {str(name).removeprefix("public.") for (name,) in connection.execute(query.encode())}
    assert found
    return found


def relations(connection: psycopg.Connection, schema: str, kinds: str) -> set[str]:
    return names_of(
        connection,
        f"select '{schema}.' || relname from pg_class where relnamespace = '{schema}'::regnamespace"
        f" and relkind = any ('{{{kinds}}}')",
    )


def test_removing_any_policy_makes_the_matrix_fail(
    broken: psycopg.Connection, rules: Rules
) -> None:
    unnoticed = []
    for policy in policies_of(broken):
        with mutated(broken, sql.SQL("drop policy {}").format(policy.identity)):
            if not about(policy, rules, broken).failing:
                unnoticed.append(str(policy))
    assert unnoticed == []


def test_widening_any_policy_makes_the_matrix_fail(
    broken: psycopg.Connection, rules: Rules
) -> None:
    unnoticed = []
    for policy in policies_of(broken):
        if policy.lets_everybody_in:
            continue
        with mutated(broken, policy.widened()):
            if not about(policy, rules, broken).failing:
                unnoticed.append(str(policy))
    assert unnoticed == []


def test_opening_any_policy_to_those_who_are_not_signed_in_makes_the_matrix_fail(
    broken: psycopg.Connection, rules: Rules
) -> None:
    unnoticed = []
    for policy in policies_of(broken):
        granted = f"grant select, insert, update, delete on {policy.schema}.{policy.table} to anon"
        with mutated(
            broken, f"alter policy {policy.identity.as_string(broken)} to anon; {granted}"
        ):
            if not about(policy, rules, broken).failing:
                unnoticed.append(str(policy))
    assert unnoticed == []


def test_row_security_switched_off_is_noticed_on_every_table(
    broken: psycopg.Connection, rules: Rules
) -> None:
    tables = {name for schema in SCHEMAS for name in relations(broken, schema, "r,p")}
    off = "; ".join(f"alter table {name} disable row level security" for name in tables)
    with mutated(broken, off):
        assert failing_names(matrix_of(broken, rules)) >= tables


@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role"])
def test_a_grant_too_many_is_noticed_on_every_relation(
    broken: psycopg.Connection, rules: Rules, role: str
) -> None:
    caller = {"anon": Caller.ANON, "service_role": Caller.SERVICE}.get(role)
    schemas = ", ".join(SCHEMAS)
    with mutated(broken, f"grant all on all tables in schema {schemas} to {role}"):
        matrix = matrix_of(broken, rules)
    unnoticed = []
    for found in matrix.objects:
        if not found.expected or found.kind in ("function", "topic"):
            continue
        allowed = {found.expected[caller]} if caller else {found.expected[c] for c in SIGNED_IN}
        for letter, verb in {**VERBS["relation"], "T": "truncate", "R": "references"}.items():
            granted = any(line.startswith(f"{role} is granted {verb}") for line in found.problems)
            if granted == (letter in "".join(allowed)):
                unnoticed.append(f"{verb} on {found.name}")
    # Columns that users may not set are the only difference where a verb is allowed in part.
    assert set(unnoticed) <= {"insert on flows", "update on flows"} | {
        "insert on flow_schedules",
        "update on flow_schedules",
    }
    assert len(matrix.objects) > 100


def test_a_grant_to_anybody_else_is_noticed_on_every_relation(
    broken: psycopg.Connection, rules: Rules
) -> None:
    everything = {name for schema in SCHEMAS for name in relations(broken, schema, "r,p,v,m")}
    schemas, others = ", ".join(SCHEMAS), ("public", "authenticator", "dashboard_user")
    grant = f"grant trigger on all tables in schema {schemas} to {', '.join(others)}"
    with mutated(broken, grant):
        said = "\n".join(matrix_of(broken, rules).lines())
    for name in everything:
        for role in others:
            assert f" {name}: granted to {role} trigger, and no rule says so" in said


@pytest.mark.parametrize(
    "role", ["public", "anon", "authenticated", "service_role", "authenticator"]
)
def test_a_function_left_executable_is_noticed(
    broken: psycopg.Connection, rules: Rules, role: str
) -> None:
    functions = names_of(
        broken,
        "select format('%s.%s', pronamespace::regnamespace, proname) from pg_proc"
        " where pronamespace in ('public'::regnamespace, 'private'::regnamespace)",
    )
    allowed = {
        "authenticated": {n for n, rule in rules.functions.items() if rule.call is not None},
        "service_role": {n for n, rule in rules.functions.items() if rule.service},
    }.get(role, set())
    grant = f"grant execute on all functions in schema public, private to {role}"
    with mutated(broken, grant):
        opened = {
            found.name
            for found in matrix_of(broken, rules, *functions).failing
            if any("and no rule says so" in problem for problem in found.problems)
        }
    assert opened == functions - allowed
