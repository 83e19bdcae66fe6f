"""What there is: relations, functions and schemas as the catalogs hold them, with their grants."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import DictRow, dict_row

_QUERIES = Path(__file__).with_name("queries")
_KINDS = {
    "r": "table",
    "p": "table",
    "v": "view",
    "m": "materialized view",
    "f": "foreign table",
    "S": "sequence",
}


@dataclass(frozen=True)
class Relation:
    """A table, partition, view or sequence. `grants`: role → letter → columns, or yes and no."""

    schema: str
    name: str
    kind: str
    row_security: bool
    invoker: bool
    owner: str
    columns: list[str]
    writable: list[str]
    required: list[str]
    key: list[str]
    grants: dict[str, dict[str, Any]]
    granted_to_others: list[str]

    @property
    def title(self) -> str:
        """As rules name it: without the schema where that is `public`."""
        return title(self.schema, self.name)

    def granted(self, role: str, letter: str) -> list[str]:
        """The columns that the role may select, insert or update."""
        columns = self.grants[role].get(letter) or []
        return columns if isinstance(columns, list) else []

    def grants_any(self, role: str, letter: str) -> bool:
        return bool(self.grants[role].get(letter))


@dataclass(frozen=True)
class Function:
    """A function or procedure. `granted_to`: the API roles that may execute it."""

    schema: str
    name: str
    arguments: str
    argument_names: list[str]
    argument_types: list[str]
    returns_nothing: bool
    pinned: bool
    granted_to: list[str]
    granted_to_others: list[str]
    kind: str = field(default="function", init=False)

    @property
    def title(self) -> str:
        return title(self.schema, self.name)


@dataclass(frozen=True)
class Inventory:
    """All of it. `privileges`: (schema or `database`, role, privilege)."""

    relations: list[Relation]
    functions: list[Function]
    privileges: list[tuple[str, str, str]]

    def relation(self, name: str) -> Relation | None:
        """By the name that rules use."""
        return next((found for found in self.relations if found.title == name), None)


def title(schema: str, name: str) -> str:
    return name if schema == "public" else f"{schema}.{name}"


def read_inventory(connection: psycopg.Connection[Any], schemas: tuple[str, ...]) -> Inventory:
    """What the schemas hold now."""
    return Inventory(
        [_relation(row) for row in _rows(connection, "relations", schemas)],
        [Function(**row) for row in _rows(connection, "functions", schemas)],
        [
            (row["schema"], row["role"], row["privilege"])
            for row in _rows(connection, "schemas", schemas)
        ],
    )


def _relation(row: DictRow) -> Relation:
    parent = row.pop("parent")
    lists = {name: row.pop(name) or [] for name in ("columns", "writable", "required")}
    kind = f"partition of {parent}" if parent else _KINDS[row.pop("kind")]
    return Relation(**{**row, **lists, "kind": kind, "invoker": bool(row["invoker"])})


def _rows(
    connection: psycopg.Connection[Any], query: str, schemas: tuple[str, ...]
) -> list[DictRow]:
    text = (_QUERIES / f"{query}.sql").read_bytes()
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(text, {"schemas": list(schemas)}).fetchall()
