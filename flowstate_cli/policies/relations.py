"""Select, insert, update and delete, tried on one relation by every caller."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from flowstate_cli.policies.attempts import Attempts, Outcome
from flowstate_cli.policies.callers import SIGNED_IN, Caller, People
from flowstate_cli.policies.inventory import Inventory, Relation
from flowstate_cli.policies.rules import RelationRule, Rules, Values
from flowstate_cli.policies.samples import Row, Samples, condition, insertion, personal, table

_NO_ROW, _EVERY_ROW = sql.SQL("false"), sql.SQL("true")


@dataclass(frozen=True)
class Attempted:
    """What one attempt says: that the caller may (True), may not, or (None) that nobody knows.

    `sideways`: an attempt beside the plain one; that it is refused says nothing against the rule.
    """

    caller: Caller
    letter: str
    may: bool | None
    detail: str = ""
    sideways: bool = False


@dataclass(frozen=True)
class RelationTrial:
    """Everything that is tried on one relation."""

    connection: psycopg.Connection[Any]
    rules: Rules
    inventory: Inventory
    people: People
    relation: Relation
    rule: RelationRule

    def attempts(self) -> Iterator[Attempted]:
        """Each attempt in turn. Raises SampleProblem where no row can be made to try on."""
        if self.rule.sample is not None:
            yield from self._on_samples(self.rule.sample)
        elif self.rule.find:
            for values in self.rule.find:
                yield from self._on_found(values)
        else:
            yield from self._on_nothing()

    # ------------------------------------------------------------------ with a row, or with none

    def _on_samples(self, sample: Values) -> Iterator[Attempted]:
        for caller in Caller:
            with self.connection.transaction(force_rollback=True):
                samples = self._samples(self.people.whose_rows(caller))
                values = samples.values(sample)
                yield self._attempt(caller, "i", self._insert(caller, values))
                if caller is Caller.OTHER:
                    yield from self._smuggle(sample, values)
                row = samples.place(self.relation, values)
                yield from self._on_row(caller, row, self._key(row))
                yield from self._on_everything(caller, row)

    def _on_found(self, values: Values) -> Iterator[Attempted]:
        for caller in Caller:
            with self.connection.transaction(force_rollback=True):
                samples = self._samples(self.people.whose_rows(caller))
                found = samples.values(values)
                yield self._attempt(caller, "i", self._insert(caller, found))
                row = samples.look_up(self.relation, found)
                yield from self._on_row(caller, row, found)

    def _on_nothing(self) -> Iterator[Attempted]:
        """For what is closed: a privilege is checked before any row is looked for."""
        column = self.relation.writable[0] if self.relation.writable else self.relation.columns[0]
        for caller in (Caller.ANON, Caller.OWN, Caller.SERVICE):
            # No row is asked for, so all who are signed in are answered alike.
            alike = SIGNED_IN if caller is Caller.OWN else (caller,)
            for letter, outcome in (
                ("s", self._select(caller, _NO_ROW)),
                ("i", self._insert(caller, {})),
                ("u", self._update(caller, {column: None}, _NO_ROW)),
                ("d", self._delete(caller, _NO_ROW)),
            ):
                may = True if not outcome.detail else outcome.succeeded
                yield from (Attempted(one, letter, may, outcome.detail) for one in alike)

    def _on_row(self, caller: Caller, row: Row, key: Row) -> Iterator[Attempted]:
        where = condition(key)
        changes = {column: row[column] for column in self._columns(caller, "u")}
        yield self._attempt(caller, "s", self._select(caller, where))
        yield self._attempt(caller, "u", self._update(caller, changes, where))
        yield self._attempt(caller, "d", self._delete(caller, where))

    def _on_everything(self, caller: Caller, row: Row) -> Iterator[Attempted]:
        """A request without a filter needs no right to read, so it meets other policies."""
        role = caller.database_role
        if caller in (Caller.OWN, Caller.SERVICE):
            return
        detail = "by a request without a filter"
        if self.relation.grants_any(role, "u"):
            column = self._columns(caller, "u")[0]
            outcome = self._update(caller, {column: row[column]}, _EVERY_ROW)
            yield self._attempt(caller, "u", outcome, detail)
        if self.relation.grants_any(role, "d"):
            yield self._attempt(caller, "d", self._delete(caller, _EVERY_ROW), detail)

    def _smuggle(self, sample: Values, others: Row) -> Iterator[Attempted]:
        """A row of one's own that refers to what is another user's; put in, or changed to that."""
        samples = self._samples(self.people.user)
        own = samples.values(sample)
        insertable = self._columns(Caller.OWN, "i")
        for column in personal(self.rules, sample):
            values = {**own, column: others[column]}
            if column in insertable:
                outcome = self._insert(Caller.OWN, values)
                detail = f"with the other user's {column}"
                yield self._attempt(Caller.OTHER, "i", outcome, detail)
        changeable = set(self._columns(Caller.OWN, "u")) & set(personal(self.rules, sample))
        if changeable:
            row = samples.place(self.relation, own)
            where = condition(self._key(row))
            for column in changeable:
                outcome = self._update(Caller.OWN, {column: others[column]}, where)
                yield self._attempt(Caller.OTHER, "u", outcome, f"giving away its {column}")

    # --------------------------------------------------------------------------- the statements

    def _select(self, caller: Caller, where: sql.Composable) -> Outcome:
        query = sql.SQL("select 1 from {} where {} limit 1").format(table(self.relation), where)
        return self._tries.make(caller, query)

    def _insert(self, caller: Caller, values: Row) -> Outcome:
        allowed = self._columns(caller, "i")
        kept = {column: value for column, value in values.items() if column in allowed}
        return self._tries.make(caller, insertion(self.relation, kept or values))

    def _update(self, caller: Caller, values: Row, where: sql.Composable) -> Outcome:
        changes = sql.SQL(", ").join(
            sql.SQL("{} = {}").format(sql.Identifier(column), sql.Literal(value))
            for column, value in values.items()
        )
        query = sql.SQL("update {} set {} where {}").format(table(self.relation), changes, where)
        return self._tries.make(caller, query)

    def _delete(self, caller: Caller, where: sql.Composable) -> Outcome:
        return self._tries.make(
            caller, sql.SQL("delete from {} where {}").format(table(self.relation), where)
        )

    # ------------------------------------------------------------------------------------- parts

    def _key(self, row: Row) -> Row:
        return {column: row[column] for column in self.relation.key} or row

    def _columns(self, caller: Caller, letter: str) -> list[str]:
        """What the caller can name in an insert or update; all columns where nothing is granted."""
        granted = self.relation.granted(caller.database_role, letter)
        return [c for c in self.relation.writable if c in granted] or self.relation.writable

    def _attempt(
        self, caller: Caller, letter: str, outcome: Outcome, sideways: str = ""
    ) -> Attempted:
        told = ", ".join(part for part in (sideways, outcome.detail) if part)
        return Attempted(caller, letter, outcome.succeeded, told, bool(sideways))

    def _samples(self, user: str) -> Samples:
        return Samples(self.connection, self.rules, self.inventory, user)

    @property
    def _tries(self) -> Attempts:
        return Attempts(self.connection, self.people)
