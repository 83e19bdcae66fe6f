"""Rows to try on: made as the owner of the schema, for one user, as `rules.toml` describes them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql

from flowstate_cli.policies.inventory import Inventory, Relation
from flowstate_cli.policies.rules import Rules, Values

# $user, $flows.id, $private.user_queue.user_id
_REFERENCE = re.compile(r"\$(user\b|[a-z_]+(?:\.[a-z_]+){1,2})")

Row = dict[str, str | None]
"""Column to value, as text that Postgres reads back."""


class SampleProblem(Exception):
    """A sample cannot be made as its rule says."""


@dataclass
class Samples:
    """Samples of one user. A row that others refer to is made once; the caller rolls back."""

    connection: psycopg.Connection[Any]
    rules: Rules
    inventory: Inventory
    user: str
    _made: dict[str, Row] = field(default_factory=dict)

    def values(self, expressions: Values) -> Row:
        """Evaluates expressions, making what they refer to. Raises SampleProblem."""
        if not expressions:
            return {}
        texts = {column: self._resolve(str(value)) for column, value in expressions.items()}
        query = "select " + ", ".join(f"({text})::text" for text in texts.values())
        [found] = self._rows(query)
        return dict(zip(texts, found, strict=True))

    def place(self, relation: Relation, values: Row) -> Row:
        """Inserts a row and answers all of it."""
        shown = sql.SQL(", ").join(
            sql.SQL("{}::text").format(sql.Identifier(column)) for column in relation.columns
        )
        query = sql.SQL("{} returning {}").format(insertion(relation, values), shown)
        [found] = self._rows(query.as_string(self.connection))
        return dict(zip(relation.columns, found, strict=True))

    def look_up(self, relation: Relation, values: Row) -> Row:
        """The row that is there already."""
        shown = sql.SQL(", ").join(
            sql.SQL("{}::text").format(sql.Identifier(column)) for column in relation.columns
        )
        query = sql.SQL("select {} from {} where {} limit 1").format(
            shown, table(relation), condition(values)
        )
        found = self._rows(query.as_string(self.connection))
        if not found:
            raise SampleProblem(f"find: {relation.title} has no such row")
        return dict(zip(relation.columns, found[0], strict=True))

    def _resolve(self, text: str) -> str:
        """The expression with values in place of references."""

        def value(match: re.Match[str]) -> str:
            name = match[1]
            if name == "user":
                found: str | None = self.user
            else:
                owner, _, column = name.rpartition(".")
                row = self.row(owner)
                if column not in row:
                    raise SampleProblem(f"${name}: {owner} has no column {column}")
                found = row[column]
            return sql.Literal(found).as_string(self.connection)

        return _REFERENCE.sub(value, text)

    def row(self, name: str) -> Row:
        """The sample of a table, made when it is first asked for."""
        if name not in self._made:
            relation, rule = self.inventory.relation(name), self.rules.tables.get(name)
            if relation is None or rule is None:
                raise SampleProblem(f"${name}: there is no table of that name with a rule")
            if rule.sample is not None:
                self._made[name] = self.place(relation, self.values(rule.sample))
            elif rule.find:
                self._made[name] = self.look_up(relation, self.values(rule.find[0]))
            else:
                raise SampleProblem(f"${name}: the rule of {name} has neither sample nor find")
        return self._made[name]

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        # After an error the caller rolls back to where it began.
        try:
            return self.connection.execute(query.encode()).fetchall()
        except psycopg.Error as error:
            raise SampleProblem(error.diag.message_primary or type(error).__name__) from error


def personal(rules: Rules, values: Values) -> list[str]:
    """The columns or arguments whose value differs from user to user, by itself or by reference."""
    return [name for name, value in values.items() if _is_personal(rules, str(value))]


def _is_personal(rules: Rules, text: str) -> bool:
    for reference in _REFERENCE.findall(text):
        rule = rules.tables.get(reference.rpartition(".")[0])
        if reference == "user" or (rule is not None and personal(rules, rule.example)):
            return True
    return False


def table(relation: Relation) -> sql.Identifier:
    return sql.Identifier(relation.schema, relation.name)


def insertion(relation: Relation, values: Row) -> sql.Composed:
    """The statement; of no values: a row of defaults."""
    if not values:
        return sql.SQL("insert into {} default values").format(table(relation))
    return sql.SQL("insert into {} ({}) values ({})").format(
        table(relation),
        sql.SQL(", ").join(map(sql.Identifier, values)),
        sql.SQL(", ").join(map(sql.Literal, values.values())),
    )


def condition(values: Row) -> sql.Composed:
    """True for the rows with these values."""
    return sql.SQL(" and ").join(
        sql.SQL("{} is null").format(sql.Identifier(column))
        if value is None
        else sql.SQL("{} = {}").format(sql.Identifier(column), sql.Literal(value))
        for column, value in values.items()
    )
