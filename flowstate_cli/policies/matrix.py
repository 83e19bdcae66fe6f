"""The comparison: what the catalogs hold and what callers can do, against `rules.toml`."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import psycopg

from flowstate_cli.policies.callers import Caller, People
from flowstate_cli.policies.functions import FunctionTrial
from flowstate_cli.policies.grants import (
    function_problems,
    permission_problems,
    relation_problems,
    schema_problems,
)
from flowstate_cli.policies.inventory import Function, Inventory, Relation, read_inventory
from flowstate_cli.policies.relations import Attempted, RelationTrial
from flowstate_cli.policies.report import VERBS, Examined, Matrix
from flowstate_cli.policies.rules import (
    FunctionRule,
    RelationRule,
    Rules,
    SequenceRule,
    TopicRule,
    Values,
    ordered,
)
from flowstate_cli.policies.samples import SampleProblem, personal
from flowstate_cli.policies.stubs import call_stub, function_stub, relation_stub, sample_stub
from flowstate_cli.policies.topics import TopicTrial

_SELECTABLE = ("view", "materialized view")


def examine(
    connection: psycopg.Connection[Any], rules: Rules, only: Collection[str] = ()
) -> Matrix:
    """Tries everything, in savepoints of the caller's transaction; what it makes is undone.

    `only`: names as in the rules; the others are left out.
    """
    with connection.transaction(force_rollback=True):
        connection.execute("set local lock_timeout = '5s'")
        connection.execute("set local statement_timeout = '60s'")
        inventory = read_inventory(connection, ("public", *rules.closed_schemas))
        people = People.make(connection)
        return _Examination(connection, rules, inventory, people, only).all()


class _Examination:
    def __init__(
        self,
        connection: psycopg.Connection[Any],
        rules: Rules,
        inventory: Inventory,
        people: People,
        only: Collection[str],
    ) -> None:
        self._world = (connection, rules, inventory, people)
        self._connection, self._rules, self._inventory = connection, rules, inventory
        self._only = only

    def all(self) -> Matrix:
        inventory, rules = self._inventory, self._rules
        return Matrix(
            [
                *schema_problems(inventory, rules),
                *permission_problems(self._connection, rules),
                *(
                    self._relation(found)
                    for found in inventory.relations
                    if self._asked(found.title)
                ),
                *(
                    self._function(found)
                    for found in inventory.functions
                    if self._asked(found.title)
                ),
                *(
                    self._topic(name, rule)
                    for name, rule in rules.topics.items()
                    if self._asked(name)
                ),
                *self._without_object(),
            ]
        )

    def _asked(self, name: str) -> bool:
        return not self._only or name in self._only

    # ------------------------------------------------------------------------------- one object

    def _relation(self, relation: Relation) -> Examined:
        examined = Examined(relation.kind, relation.title)
        rule = self._relation_rule(relation)
        if rule is None:
            examined.problems.append("it has no rule")
            examined.to_add = relation_stub(relation)
            return examined
        examined.problems += relation_problems(relation, rule)
        self._expect(examined, rule)
        if isinstance(rule, SequenceRule):
            # The next value is not tried: it would be used up, whatever is rolled back.
            for caller in Caller:
                held = {letter for letter in "su" if relation.grants[caller.database_role][letter]}
                examined.found[caller] = ordered(held)
            return examined
        closed = relation.schema in self._rules.closed_schemas
        if not closed and not rule.example:
            examined.problems.append("its rule has no sample")
            examined.to_add = (
                relation_stub(relation)
                if relation.kind in _SELECTABLE
                else sample_stub(relation.title, relation.required)
            )
            return examined
        trial = RelationTrial(*self._world, relation, rule)
        return self._compare(examined, trial.attempts(), VERBS["relation"])

    def _relation_rule(self, relation: Relation) -> RelationRule | SequenceRule | None:
        rules = self._rules
        known: dict[str, RelationRule] | dict[str, SequenceRule] = rules.tables
        if relation.kind in _SELECTABLE:
            known = rules.views
        elif relation.kind == "sequence":
            known = rules.sequences
        rule = known.get(relation.title)
        if rule is None and relation.schema in rules.closed_schemas:
            return SequenceRule() if relation.kind == "sequence" else RelationRule()
        return rule

    def _function(self, function: Function) -> Examined:
        examined = Examined("function", function.title)
        rule = self._rules.functions.get(function.title)
        if rule is None and function.schema in self._rules.closed_schemas:
            rule = FunctionRule()
        if rule is None:
            examined.problems.append("it has no rule")
            examined.to_add = function_stub(function)
            return examined
        examined.problems += function_problems(function, rule)
        if "authenticated" in function.granted_to and rule.call is None:
            examined.problems.append("users may execute it, and its rule has no `call`")
            examined.to_add = call_stub(function)
        elif rule.call is not None:
            examined.problems += self._ids_of_nobody(function, rule.call, rule.free_ids)
        self._expect(examined, rule, "x" if rule.permission else "")
        trial = FunctionTrial(*self._world, function, rule)
        return self._compare(examined, trial.attempts(), VERBS["function"])

    def _ids_of_nobody(self, function: Function, call: Values, free: tuple[str, ...]) -> list[str]:
        """Ids that are not a user's in the call, so that it could not be called with another's."""
        of_users = {*personal(self._rules, call), *free}
        return [
            f"the `call` of its rule has no {name} that is a user's: $user, or $<table>.<column>"
            for name in function.argument_names
            if name.endswith("_id") and name not in of_users
        ]

    def _topic(self, name: str, rule: TopicRule) -> Examined:
        examined = Examined("topic", name)
        self._expect(examined, rule, "s" if rule.permission else "")
        trial = TopicTrial(*self._world, rule)
        return self._compare(examined, trial.attempts(), VERBS["topic"])

    # ------------------------------------------------------------------------------- comparison

    def _expect(
        self,
        examined: Examined,
        rule: RelationRule | SequenceRule | FunctionRule | TopicRule,
        permitted: str = "",
    ) -> None:
        permission = getattr(rule, "permission", "")
        for caller in Caller:
            letters = set(rule.letters(caller))
            if permission and caller in self._rules.staff_with(permission):
                letters |= set(permitted)
            examined.expected[caller] = ordered(letters)

    def _compare(
        self, examined: Examined, attempts: Iterable[Attempted], verbs: dict[str, str]
    ) -> Examined:
        found: dict[Caller, set[str]] = {}
        try:
            for attempt in attempts:
                letters = found.setdefault(attempt.caller, set())
                if attempt.may:
                    letters.add(attempt.letter)
                problem = _judge(attempt, examined.expected[attempt.caller], verbs)
                if problem and problem not in examined.problems:
                    examined.problems.append(problem)
        except SampleProblem as problem:
            examined.problems.append(f"no sample can be made: {problem}")
        examined.found = {caller: ordered(letters) for caller, letters in found.items()}
        return examined

    # ----------------------------------------------------------------------- rules without object

    def _without_object(self) -> list[Examined]:
        there = {relation.title for relation in self._inventory.relations}
        functions = {function.title for function in self._inventory.functions}
        named = (
            ("table", self._rules.tables, there),
            ("view", self._rules.views, there),
            ("sequence", self._rules.sequences, there),
            ("function", self._rules.functions, functions),
        )
        return [
            Examined(kind, name, problems=["it has a rule, and does not exist"])
            for kind, rules, existing in named
            for name in rules
            if name not in existing and self._asked(name)
        ]


def _judge(attempt: Attempted, expected: str, verbs: dict[str, str]) -> str:
    """What is wrong with the outcome; empty when it is as the rule says."""
    verb, told = verbs[attempt.letter], f": {attempt.detail}" if attempt.detail else ""
    who = attempt.caller.meaning
    if attempt.may is None:
        return f"whether {who}, may {verb} cannot be told{told}"
    if attempt.may and attempt.letter not in expected:
        return f"{who}, can {verb}, and no rule says so{told}"
    if not attempt.may and attempt.letter in expected and not attempt.sideways:
        return f"{who}, cannot {verb}, though the rule says so{told}"
    return ""
