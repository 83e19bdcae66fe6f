"""What the catalogs say by themselves: grants beyond the rules, and guards that are missing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg

from flowstate_cli.policies.callers import API_ROLES, Caller
from flowstate_cli.policies.inventory import Function, Inventory, Relation
from flowstate_cli.policies.report import Examined
from flowstate_cli.policies.rules import FunctionRule, RelationRule, Rules, SequenceRule

_VERBS = {"s": "select", "i": "insert", "u": "update", "d": "delete"}


def relation_problems(relation: Relation, rule: RelationRule | SequenceRule) -> list[str]:
    """Row security, invoker's rights, owner, and grants that are not those of the rule."""
    return [*_guards(relation), *_grants(relation, rule)]


def function_problems(function: Function, rule: FunctionRule) -> Iterator[str]:
    """A search path that callers can set, and grants to others than the API roles."""
    if not function.pinned:
        yield "its search_path is not pinned: set search_path = ''"
    for role in function.granted_to_others:
        if role != rule.also:
            yield f"{role} may execute it, and no rule says so"
    if rule.also and rule.also not in function.granted_to_others:
        yield f"{rule.also} may not execute it, though the rule says so"
    if "authenticated" in function.granted_to and not (rule.of_signed_in() or rule.permission):
        yield "authenticated may execute it, and no rule says so"


def schema_problems(inventory: Inventory, rules: Rules) -> list[Examined]:
    """Closed schemas that are open, and places in which an API role could put objects of its own.

    Temporary objects are such a place: wherever a search path does not name it, pg_temp comes
    first when a type is looked up, so that even a function with a pinned path would meet theirs.
    """
    places = {schema: Examined("schema", schema) for schema in ("public", *rules.closed_schemas)}
    places["database"] = Examined("", "database")
    for place, role, privilege in inventory.privileges:
        if (place, privilege) != ("public", "usage"):
            places[place].problems.append(f"{role} has {privilege} on it")
    return list(places.values())


def permission_problems(connection: psycopg.Connection[Any], rules: Rules) -> list[Examined]:
    """Whether role_permissions holds what the rules say, since functions are let in by it."""
    rows = connection.execute("select role, permission from public.role_permissions").fetchall()
    held = {(str(role), str(permission)) for role, permission in rows}
    said = {(role, name) for name, roles in rules.permissions.items() for role in roles}
    examined = Examined("permissions", "role_permissions")
    for role, permission in sorted(held - said):
        examined.problems.append(f"{role} holds {permission}, and no rule says so")
    for role, permission in sorted(said - held):
        examined.problems.append(f"{role} does not hold {permission}, though the rule says so")
    return [examined]


def _guards(relation: Relation) -> Iterator[str]:
    if relation.kind == "table" or relation.kind.startswith("partition"):
        if not relation.row_security:
            yield "row security is off: alter table … enable row level security"
    elif relation.kind == "view" and not relation.invoker:
        yield "it runs with its owner's rights: with (security_invoker = true)"
    if relation.owner in API_ROLES:
        yield f"it belongs to {relation.owner}, whom row security does not bind"


def _grants(relation: Relation, rule: RelationRule | SequenceRule) -> Iterator[str]:
    allowed = {
        "anon": rule.letters(Caller.ANON),
        "authenticated": rule.of_signed_in(),
        "service_role": rule.letters(Caller.SERVICE),
    }
    for role, letters in allowed.items():
        for letter, verb in _VERBS.items():
            if letter not in relation.grants[role]:
                continue
            if letter == "d" or relation.kind == "sequence":
                if relation.grants_any(role, letter) != (letter in letters):
                    yield _granted(role, verb, extra=letter not in letters)
                continue
            columns = None
            if role == "authenticated" and isinstance(rule, RelationRule):
                columns = rule.columns(letter)
            said = set(columns or relation.columns) if letter in letters else set()
            yield from _columns(role, verb, relation, said, set(relation.granted(role, letter)))
        for verb in relation.grants[role].get("further", []):
            yield _granted(role, verb, extra=True)
    for grant in relation.granted_to_others:
        yield f"granted to {grant}, and no rule says so"


def _columns(
    role: str, verb: str, relation: Relation, said: set[str], held: set[str]
) -> Iterator[str]:
    if held - said:
        some = "" if held == set(relation.columns) else f" ({', '.join(sorted(held - said))})"
        yield _granted(role, verb + some, extra=True)
    if said - held:
        some = "" if not held else f" ({', '.join(sorted(said - held))})"
        yield _granted(role, verb + some, extra=False)


def _granted(role: str, verb: str, *, extra: bool) -> str:
    if extra:
        return f"{role} is granted {verb}, and no rule says so"
    return f"{role} is not granted {verb}, though the rule says so"
