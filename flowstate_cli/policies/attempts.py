"""One attempt: a statement as a caller, undone afterwards, and what its outcome means."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql

from flowstate_cli.policies.callers import Caller, People

# Refused: by privilege or policy (42501), by a function or trigger of ours, or because nobody can
# write through the view.
_REFUSALS = {"42501", "PT400", "PT401", "PT403", "PT404", "55000", "42809", "0A000"}
# Past every guard, stopped by the data: a constraint, a limit, a conflict.
_PAST_THE_GUARDS = {"PT409", "PT413", "PT429", "PGRST"}


@dataclass(frozen=True)
class Outcome:
    """`succeeded`: None where it cannot be told, and `detail` says why."""

    succeeded: bool | None
    detail: str = ""
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    count: int = 0


@dataclass(frozen=True)
class Attempts:
    """Tries statements as callers."""

    connection: psycopg.Connection[Any]
    people: People

    def make(self, caller: Caller, statement: sql.Composed, *, setting: str = "") -> Outcome:
        """Runs the statement as the caller. `setting`: what realtime.topic() answers."""
        try:
            with self.people.asking(self.connection, caller):
                if setting:
                    self.connection.execute(
                        "select set_config('realtime.topic', %s, true)", (setting,)
                    )
                cursor = self.connection.execute(statement)
                rows = cursor.fetchall() if cursor.description else []
                return Outcome(cursor.rowcount > 0, rows=rows, count=cursor.rowcount)
        except psycopg.Error as error:
            state = error.sqlstate or ""
            detail = f"{error.diag.message_primary or type(error).__name__} ({state})"
            if state in _REFUSALS:
                return Outcome(False, detail)
            if state in _PAST_THE_GUARDS or state.startswith("23"):
                return Outcome(True, detail)
            if isinstance(error, psycopg.OperationalError):
                raise
            return Outcome(None, detail)
