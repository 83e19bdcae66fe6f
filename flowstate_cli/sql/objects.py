"""Which object a statement creates, and the rules that keep a source re-runnable.

An identity is written so that `drop <kind> if exists <identity>` is valid SQL: functions carry
their argument types, policies and triggers their table, indexes the schema of their table.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace

from flowstate_cli.sql.cursor import Cursor
from flowstate_cli.sql.routine import FUNCTION_OPTIONS, Argument, input_types, parse_arguments
from flowstate_cli.sql.scanner import SqlSyntaxError, Statement

ALLOWED_KINDS = {
    "functions": {"function", "trigger"},
    "views": {"view", "trigger"},
    "indexes": {"index"},
    "policies": {"policy"},
}
_COMPANIONS = {"comment", "grant", "revoke", "alter", "drop", "do"}
_TRANSACTION = {"begin", "commit", "rollback", "start", "end", "savepoint"}


@dataclass(frozen=True)
class SqlObject:
    """One created object.

    `shape` is a digest of what cannot be replaced in place: when it changes under the same
    identity, the object has to be dropped first. Empty where a re-run replaces everything.
    `references` are the names on which the database may record a dependency; a function's body
    makes none.
    """

    kind: str
    identity: str
    shape: str = ""
    references: frozenset[str] = field(default=frozenset(), compare=False)

    @property
    def key(self) -> tuple[str, str]:
        return self.kind, self.identity

    @property
    def name(self) -> str:
        """The name by which another object mentions a function or a view."""
        return self.identity.partition("(")[0].rpartition(".")[2]

    def drop(self) -> str:
        return f"drop {self.kind} if exists {self.identity};"

    def __str__(self) -> str:
        return f"{self.kind} {self.identity}"


def created_objects(folder: str, parsed: list[Statement]) -> list[SqlObject]:
    """The objects which the statements of one file create.

    Raises SqlSyntaxError for a statement that does not belong under `sql/<folder>` or that could
    not run a second time.
    """
    created: list[SqlObject] = []
    dropped: set[tuple[str, str]] = set()
    for statement in parsed:
        head = statement.words(1)[0]
        if head == "create":
            item = _created(statement)
            _check_belongs(folder, statement, item)
            _check_rerunnable(statement, item, dropped)
            created.append(item)
        elif head == "drop":
            dropped.add(_dropped(statement))
        elif head in _TRANSACTION:
            raise SqlSyntaxError(
                statement.line,
                f"`{head}` is not allowed: a migration is one transaction already, and an explicit "
                "one would switch that off",
            )
        elif head not in _COMPANIONS:
            raise SqlSyntaxError(
                statement.line,
                f"a statement that starts with `{head}` does not belong in sql/; write a migration",
            )
    return created


def _created(statement: Statement) -> SqlObject:
    cursor = Cursor(statement)
    cursor.expect("create")
    cursor.skip("or", "replace")
    cursor.skip("unique")
    kind = cursor.take().text
    if kind == "function":
        return _function(cursor)
    if kind == "view":
        return _object("view", cursor.qualified_name(), statement, replaceable=False)
    if kind == "index":
        return _index(cursor, statement)
    if kind in {"policy", "trigger"}:
        name = cursor.name()
        while not cursor.skip("on"):
            cursor.take()
        table = cursor.qualified_name()
        return _object(kind, f"{name} on {table}", statement, replaceable=True)
    raise SqlSyntaxError(
        statement.line,
        f"`create {kind}` does not belong in sql/, which holds functions, triggers, views, indexes "
        "and policies; write a migration",
    )


def _index(cursor: Cursor, statement: Statement) -> SqlObject:
    if cursor.skip("concurrently"):
        raise SqlSyntaxError(
            statement.line,
            "`concurrently` cannot run inside a migration's transaction: build the index on the "
            "live table first, then record it here as plain `create index if not exists`",
        )
    cursor.skip("if", "not", "exists")
    name = cursor.name()
    cursor.expect("on")
    cursor.skip("only")
    schema = cursor.qualified_name().rpartition(".")[0]
    return _object("index", f"{schema}.{name}", statement, replaceable=False)


def _function(cursor: Cursor) -> SqlObject:
    name = cursor.qualified_name()
    line, groups = cursor.argument_list()
    arguments = parse_arguments(line, groups)
    returns = cursor.until(FUNCTION_OPTIONS)
    if cursor.ahead("begin", "atomic"):
        raise SqlSyntaxError(line, "`begin atomic` bodies are not supported: use as $$ … $$")
    identity = f"{name}({', '.join(input_types(arguments))})"
    shape = "; ".join(map(Argument.shape, arguments)) + " " + " ".join(returns)
    return SqlObject("function", identity, _digest(shape))


def _object(kind: str, identity: str, statement: Statement, *, replaceable: bool) -> SqlObject:
    words = frozenset(token.text for token in statement.tokens if token.is_name)
    shape = "" if replaceable else _digest(statement.canonical())
    item = SqlObject(kind, identity, shape, words)
    return replace(item, references=words - {item.name})


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _dropped(statement: Statement) -> tuple[str, str]:
    cursor = Cursor(statement)
    cursor.expect("drop")
    kind = cursor.take().text
    if not cursor.skip("if", "exists"):
        raise SqlSyntaxError(statement.line, f"`drop {kind}` needs `if exists` to be re-runnable")
    if kind not in {"policy", "trigger"}:
        return kind, cursor.qualified_name()
    name = cursor.name()
    cursor.expect("on")
    return kind, f"{name} on {cursor.qualified_name()}"


def _check_belongs(folder: str, statement: Statement, item: SqlObject) -> None:
    if item.kind not in ALLOWED_KINDS[folder]:
        home = next(name for name, kinds in ALLOWED_KINDS.items() if item.kind in kinds)
        raise SqlSyntaxError(statement.line, f"{item} belongs under sql/{home}/, not sql/{folder}/")


def _check_rerunnable(statement: Statement, item: SqlObject, dropped: set[tuple[str, str]]) -> None:
    words = statement.words(6)
    replaces = words[1:3] == ("or", "replace")
    if item.kind == "index" and "if not exists" not in " ".join(words):
        raise SqlSyntaxError(statement.line, f"{item} needs `create index if not exists`")
    if item.kind in {"function", "view"} and not replaces:
        raise SqlSyntaxError(statement.line, f"{item} needs `create or replace {item.kind}`")
    if item.kind in {"policy", "trigger"} and not replaces and item.key not in dropped:
        raise SqlSyntaxError(
            statement.line,
            f"{item} needs `{item.drop()}` before it in the same file, so that it can run again",
        )
