"""`flowstate logs`: the attempts that were made, and those being made."""

from __future__ import annotations

import time
from collections import deque
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from flowstate_cli.api import Api, Row, open_api
from flowstate_cli.inputs import parse_moment, parse_uuid
from flowstate_cli.output import JsonFlag, emit_json, emit_json_line

_COLUMNS = (
    "execution_id, attempt, user_id, flow_id, flow_name, outcome, is_final, category, error, "
    "instance_name, processor_id, queued_at, started_at, finished_at, duration_ms"
)
_COLOURS = {"succeeded": "green", "failed": "yellow", "dead": "red", "cancelled": "dim"}
# A row becomes visible when its transaction commits, a little after the time it carries.
_OVERLAP = timedelta(seconds=10)
_REMEMBERED = 20_000


def logs(
    *,
    execution: Annotated[
        str, typer.Option("--execution", help="An execution's id.", show_default=False)
    ] = "",
    flow: Annotated[
        str, typer.Option("--flow", help="A flow's id or name.", show_default=False)
    ] = "",
    user: Annotated[
        str, typer.Option("--user", help="A user's id or e-mail address.", show_default=False)
    ] = "",
    since: Annotated[
        str,
        typer.Option("--since", help="ISO 8601 time with an offset.", show_default=False),
    ] = "",
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=1000, help="The latest so many.")
    ] = 50,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with new ones until interrupted.")
    ] = False,
    interval_seconds: Annotated[
        float, typer.Option("--interval", min=0.1, max=3600, help="Seconds between two looks.")
    ] = 2.0,
    as_json: JsonFlag = False,
) -> None:
    """Show attempts, oldest of the latest first: outcome, flow, instance, time, error.

    Reads execution_logs. With --follow --json each row is one line of JSON (JSON Lines).

    Exit codes: 0 shown, or interrupted while following; 1 no such user or flow; 2 bad input;
    3 no API.

    Example: flowstate logs --flow invoices --follow
    """
    filters: dict[str, str] = {}
    if execution:
        filters["execution_id"] = parse_uuid(execution, "--execution")
    start = parse_moment(since, "--since") if since else None
    with open_api() as api:
        if user:
            filters["user_id"] = api.user_id(user)
        if flow:
            filters["flow_id"] = api.flow(flow, filters.get("user_id"), "--flow")["id"]
        rows = _read(api, filters, start, limit, newest=True)
        if not follow:
            _print_all(rows, as_json)
            return
        try:
            _follow(api, filters, rows, interval_seconds, as_json)
        except KeyboardInterrupt:
            return


def _follow(
    api: Api, filters: dict[str, str], rows: list[Row], interval_seconds: float, as_json: bool
) -> None:
    seen: deque[tuple[Any, ...]] = deque(maxlen=_REMEMBERED)
    newest: str | None = None
    while True:
        for row in rows:
            identity = (row["execution_id"], row["attempt"], row["finished_at"])
            if identity not in seen:
                seen.append(identity)
                newest = max(newest or row["finished_at"], row["finished_at"])
                _print(row, as_json)
        full = len(rows) == 1000
        if not full:
            time.sleep(interval_seconds)
        since = None
        if newest is not None:
            since = newest if full else (datetime.fromisoformat(newest) - _OVERLAP).isoformat()
        rows = _read(api, filters, since, 1000, newest=False)


def _read(
    api: Api, filters: dict[str, str], since: str | None, limit: int, *, newest: bool
) -> list[Row]:
    """Rows in the order of their time: the latest `limit`, or the first `limit` since then."""
    query = api.table("execution_logs").select(_COLUMNS).order("finished_at", desc=newest)
    for column, value in filters.items():
        query = query.eq(column, value)
    if since is not None:
        query = query.gte("finished_at", since)
    rows = api.rows(query.limit(limit))
    return rows[::-1] if newest else rows


def _print_all(rows: list[Row], as_json: bool) -> None:
    if as_json:
        emit_json(rows)
        return
    for row in rows:
        _print(row, as_json=False)


def _print(row: Row, as_json: bool) -> None:
    if as_json:
        emit_json_line(row)
        return
    colour = _COLOURS.get(row["outcome"], "")
    outcome = row["outcome"] if row["is_final"] else f"{row['outcome']}, again"
    error = row["error"] or {}
    details = ": ".join(
        str(part) for part in (row["category"], error.get("step"), error.get("message")) if part
    )
    took = f"{row['duration_ms']} ms" if row["duration_ms"] is not None else "-"
    line = (
        f"{row['finished_at'][:19]}  [{colour or 'none'}]{outcome:<16}[/]  "
        f"{escape(row['flow_name'])}  {row['execution_id']} #{row['attempt']}  "
        f"{escape(row['instance_name'] or '-')}  {took}"
    )
    console = Console(highlight=False, soft_wrap=True)
    console.print(line + (f"  {escape(details)}" if details else ""))
