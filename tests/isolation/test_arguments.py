"""Hostile values in every argument of every function that a signed-in caller may execute.

Functions and arguments come from the catalogs. They are called by an owner, whom all of them let
in: a user would be refused by many before anything is looked at. No answer is a 5xx, nothing of
anybody else changes, and no object appears or goes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from flowstate_cli.policies.inventory import Function

from .attackers import Person, World

TEXTS = {
    "statements": (
        "'; drop table public.flows cascade; --\" ; drop schema private cascade; --"
        " x' union select null, email from auth.users; $$; select 1; $$ $1 \\' \\x00 %s %I %L %%"
    ),
    "unicode and control characters": "Ünï\u202e\u0130ı ﷽ 🦆 \ufffe a\tb\nc\rd\x07e\x1b[31m",
    "nothing": "",
    "patterns": "%_*(){}[]^$.|?+.*.*.*.*.*.*.*.*.*.*.*",
}
LONG = "x" * 1_000_000
NUL = "a\u0000b"
OTHERS: list[Any] = [-1, 10**30, "-infinity", None, [[["x"]]]]


@dataclass(frozen=True)
class Target:
    """One argument of one function."""

    function: Function
    argument: str
    kind: str

    def __str__(self) -> str:
        return f"{self.function.name}({self.argument} {self.kind})"


@pytest.fixture(scope="module")
def targets(world: World) -> list[Target]:
    found = [
        Target(function, argument, kind)
        for function in world.inventory.functions
        if "authenticated" in function.granted_to
        for argument, kind in zip(function.argument_names, function.argument_types, strict=True)
    ]
    assert len(found) > 30
    return found


@pytest.fixture(autouse=True)
def nothing_else_changes(world: World, victim: Person) -> Iterator[None]:
    before = everything(world, victim)
    yield
    assert everything(world, victim) == before


def everything(world: World, victim: Person) -> list[tuple[Any, ...]]:
    """Every object of the database, and every row of the victim."""
    world.database.execute("select private.chain_activity(1000000)")  # verify_activity() chains it
    found = world.database.execute(
        "select c.oid, c.relname, c.relacl::text from pg_class c"
        " where c.relnamespace::regnamespace::text in ('public', 'private', 'auth') order by 1"
    ).fetchall()
    found += world.database.execute(
        "select p.oid, p.proname, p.proacl::text, md5(p.prosrc) from pg_proc p"
        " where p.pronamespace::regnamespace::text in ('public', 'private', 'auth') order by 1"
    ).fetchall()
    for relation in world.inventory.relations:
        if relation.schema == "public" and "user_id" in relation.columns:
            query = (
                "select md5(string_agg(t::text, ' ' order by t::text))"
                f" from public.{relation.name} t where user_id = %s"
            )
            found += world.database.execute(query.encode(), (victim.id,)).fetchall()
    return found


def values_of(text: str, name: str, kind: str) -> list[Any]:
    """The text itself; for JSON also as a key and in a list; for a flow as each part of it."""
    if kind != "jsonb":
        return [text]
    if name != "definition" or len(text) > 1000:
        return [text, {text: text}, [text]]
    step = {"name": "rows", "type": "transform", "args": {"template": "x"}}
    return [
        text,
        {"steps": [step], text: text},
        {"steps": [{**step, "name": text}]},
        {"steps": [{**step, "type": text}]},
        {"steps": [{**step, text: text}]},
        {"steps": [{**step, "args": {"template": "x", text: text}}]},
        {"steps": [{**step, "args": {"template": "{{" + text + "}}"}}]},
    ]


def try_value(world: World, target: Target, value: Any) -> list[str]:
    """Calls it with otherwise good arguments; what came of it where that is a 5xx."""
    rule = world.rules.functions[target.function.title]
    caller = world.person(role="owner")
    user = world.person() if rule.permission else caller
    arguments = dict(world.samples(user.id).values(rule.call or {}))
    status, body = world.call(
        target.function.name, caller.token, {**arguments, target.argument: value}
    )
    return [f"{target} of {str(value)[:50]!r}: {status} {body}"] if status >= 500 else []


def try_all(world: World, targets: list[Target], text: str) -> list[str]:
    return [
        problem
        for target in targets
        for value in values_of(text, target.argument, target.kind)
        for problem in try_value(world, target, value)
    ]


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_hostile_text_is_only_a_value(world: World, targets: list[Target], text: str) -> None:
    wrong = try_all(world, targets, text)
    assert not wrong, "\n".join(wrong)


def test_a_nul_is_refused_as_bad_input(world: World, targets: list[Target]) -> None:
    assert try_all(world, targets, NUL) == []


def test_a_million_characters_are_refused_or_kept_short(
    world: World, targets: list[Target]
) -> None:
    assert try_all(world, targets, LONG) == []


@pytest.mark.parametrize("value", OTHERS, ids=repr)
def test_a_value_of_another_type_is_refused_as_bad_input(
    world: World, targets: list[Target], value: Any
) -> None:
    assert [p for target in targets for p in try_value(world, target, value)] == []


def test_json_nested_deeply_is_refused_as_bad_input(world: World, targets: list[Target]) -> None:
    for target in targets:
        if target.kind == "jsonb":
            person = world.person()
            deep = "[" * 100_000 + "]" * 100_000
            answer = world.ask(
                "POST",
                f"/rpc/{target.function.name}",
                person.token,
                content=f'{{"{target.argument}": {deep}}}',
                headers={"Content-Type": "application/json"},
            )
            assert answer.status_code < 500, f"{target}: {answer.text[:300]}"


@pytest.mark.parametrize("text", [*TEXTS.values(), LONG, NUL], ids=[*TEXTS, "long", "nul"])
def test_a_hostile_text_in_a_row_is_only_a_value(world: World, text: str) -> None:
    columns = world.database.execute(
        "select c.relname, a.attname, format_type(a.atttypid, null)"
        "  from pg_attribute a join pg_class c on c.oid = a.attrelid"
        " where c.relnamespace = 'public'::regnamespace and a.attnum > 0 and not a.attisdropped"
        "   and has_column_privilege('authenticated', c.oid, a.attnum, 'insert')"
    ).fetchall()
    assert columns
    for table, column, kind in columns:
        sample = world.rules.tables[table].sample
        assert sample
        for value in values_of(text, column, kind):
            person = world.person()
            row = {**world.samples(person.id).values(sample), column: value}
            answer = world.ask("POST", f"/{table}", person.token, json=row)
            assert answer.status_code < 500, f"{table}.{column}: {answer.text[:300]}"


def test_line_breaks_in_a_value_do_not_reach_the_status_line(
    world: World, attacker: Person
) -> None:
    forged = "x\r\nSet-Cookie: a=b\r\n\r\nHTTP/1.1 200 OK"
    answer = world.ask(
        "POST",
        "/rpc/enqueue_flow_execution",
        attacker.token,
        direct=True,
        json={"flow_id": attacker.flow_id, "on_limit": forged},
    )
    assert answer.status_code == 400
    assert "set-cookie" not in answer.headers
    assert "x??Set-Cookie: a=b" in answer.reason_phrase
