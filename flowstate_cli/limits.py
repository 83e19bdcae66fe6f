"""Limits as people type them and read them. The SQL functions check them; none is decided here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from flowstate_cli.errors import BadInputError

UNLIMITED = "unlimited"
WINDOWS = ("hour", "day", "month")
_BYTES_PER_MB = 1_048_576

HourOption = Annotated[
    str,
    typer.Option("--hour", help="Executions in any 3,600 s, or `unlimited`.", show_default=False),
]
DayOption = Annotated[
    str,
    typer.Option("--day", help="Executions in any 86,400 s, or `unlimited`.", show_default=False),
]
MonthOption = Annotated[
    str,
    typer.Option("--month", help="Executions in any 30 days, or `unlimited`.", show_default=False),
]
WeightOption = Annotated[
    int | None,
    typer.Option("--weight", help="Share of a full pool, beside others.", show_default=False),
]
MaxRunningOption = Annotated[
    int | None,
    typer.Option("--max-running", help="Executions at once.", show_default=False),
]

_NAMES = {
    "hour_limit": "in an hour",
    "day_limit": "in a day",
    "month_limit": "in 30 days",
    "weight": "weight",
    "max_running": "at once",
    "log_retention_days": "days of logs",
    "context_limit_bytes": "MB of context",
}
COLUMNS = tuple(_NAMES)


def parse_windows(hour: str, day: str, month: str) -> dict[str, int | None]:
    """Those that were given, by column; None for `unlimited`. Raises BadInputError."""
    given = zip(WINDOWS, (hour, day, month), strict=True)
    return {f"{name}_limit": _parse(text, f"--{name}") for name, text in given if text}


def parse_megabytes(number: float | None, field: str) -> int | None:
    """In bytes. Raises BadInputError for what is no number."""
    if number is None:
        return None
    if not math.isfinite(number):
        raise BadInputError(f"{number} is no size.", field=field)
    return round(number * _BYTES_PER_MB)


def shown(column: str, value: Any) -> str:
    """A limit for people."""
    if value is None:
        return UNLIMITED if column.endswith("_limit") else "-"
    if column == "context_limit_bytes":
        return f"{value / _BYTES_PER_MB:g}"
    return str(value)


def title(column: str) -> str:
    """What people call a limit: `hour_limit` is `in an hour`."""
    return _NAMES.get(column, column)


def named(limits: Mapping[str, Any]) -> dict[str, object]:
    """Limits with the names and values that people read, in the order of a tier's columns."""
    return {title(column): shown(column, limits[column]) for column in _NAMES if column in limits}


def _parse(text: str, field: str) -> int | None:
    if text == UNLIMITED:
        return None
    try:
        return int(text)
    except ValueError as error:
        raise BadInputError(
            f"{text[:60]!r} is no limit.",
            field=field,
            hint=f"Write a whole number from 1 on, or `{UNLIMITED}`.",
        ) from error
