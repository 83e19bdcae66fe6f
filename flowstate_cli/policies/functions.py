"""Functions, called by everybody who is signed in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from flowstate_cli.policies.attempts import Attempts, Outcome
from flowstate_cli.policies.callers import SIGNED_IN, Caller, People
from flowstate_cli.policies.inventory import Function, Inventory
from flowstate_cli.policies.relations import Attempted
from flowstate_cli.policies.rules import FunctionRule, Rules, Values
from flowstate_cli.policies.samples import Row, Samples, personal

_EMPTY: tuple[object, ...] = (None, "", [], {})


@dataclass(frozen=True)
class FunctionTrial:
    """Everything that is tried on one function."""

    connection: psycopg.Connection[Any]
    rules: Rules
    inventory: Inventory
    people: People
    function: Function
    rule: FunctionRule

    def attempts(self) -> Iterator[Attempted]:
        """Each attempt in turn. Raises SampleProblem where the arguments cannot be made."""
        for caller in (Caller.ANON, Caller.SERVICE):
            granted = caller.database_role in self.function.granted_to
            yield Attempted(caller, "x", granted, "by its grants")
        if "authenticated" not in self.function.granted_to:
            yield from (Attempted(caller, "x", False) for caller in SIGNED_IN)
        elif self.rule.call is not None:
            yield from self._calls(self.rule.call)

    def _calls(self, call: Values) -> Iterator[Attempted]:
        of_users = personal(self.rules, call)
        for caller in SIGNED_IN:
            # Without an argument that belongs to a user, there is nothing of another user's.
            if caller is Caller.OTHER and not of_users:
                continue
            with self.connection.transaction(force_rollback=True):
                arguments = self._samples(self.people.whose_rows(caller)).values(call)
                yield self._call(caller, arguments)
                if caller is Caller.OTHER and len(of_users) > 1:
                    own = self._samples(self.people.user).values(call)
                    for name in of_users:
                        mixed = {**own, name: arguments[name]}
                        yield self._call(caller, mixed, f"with the other user's {name}")

    def _call(self, caller: Caller, arguments: Row, sideways: str = "") -> Attempted:
        tries = Attempts(self.connection, self.people)
        outcome = tries.make(caller, self._statement(arguments))
        told = ", ".join(part for part in (sideways, outcome.detail) if part)
        return Attempted(caller, "x", self._let_in(outcome), told, bool(sideways))

    def _samples(self, user: str) -> Samples:
        return Samples(self.connection, self.rules, self.inventory, user)

    def _statement(self, arguments: Row) -> sql.Composed:
        return sql.SQL("select * from {}({})").format(
            sql.Identifier(self.function.schema, self.function.name),
            sql.SQL(", ").join(
                sql.SQL("{} => {}").format(sql.Identifier(name), sql.Literal(value))
                for name, value in arguments.items()
            ),
        )

    def _let_in(self, outcome: Outcome) -> bool | None:
        if outcome.detail.endswith("(PT400)"):
            return None  # the call itself is wrong, so it says nothing about who may call
        if outcome.detail or outcome.succeeded is not True:
            return outcome.succeeded
        return self.function.returns_nothing or any(
            value not in _EMPTY for row in outcome.rows for value in row
        )
