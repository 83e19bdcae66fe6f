"""Usage for people: a bar for each window, and when there is room again."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.console import Console
from rich.markup import escape

from flowstate_cli.api import Row
from flowstate_cli.limits import title

_WIDTH = 20


def emit_usage(usage: Row, now: datetime | None = None) -> None:
    """A line for each window, and one for the queue. `now` is for tests."""
    console = Console(highlight=False, soft_wrap=True)
    for window in usage["limits"]:
        console.print(escape(_line(window, now or datetime.now(UTC))))
    console.print(
        f"{title('max_running'):<11}{_bar(usage['running'], usage['max_running'])}"
        f"  {usage['running']} of {usage['max_running']}, {usage['queued']} queued"
    )


def _line(window: Row, now: datetime) -> str:
    name, limit, used = title(f"{window['window']}_limit"), window["limit"], window["used"]
    line = f"{name:<11}{_bar(used, limit)}"
    if limit is None:
        return f"{line}  {used}, unlimited"
    if window["resets_at"] is None:
        return f"{line}  {used} of {limit}, {window['remaining']} left"
    at = datetime.fromisoformat(window["resets_at"])
    return f"{line}  {used} of {limit}, full until {at:%Y-%m-%d %H:%M:%S} ({_distance(at, now)})"


def _bar(used: int, limit: int | None) -> str:
    """Never full before it is, and never empty after the first."""
    if limit is None:
        return " " * _WIDTH
    filled = min(_WIDTH, used * _WIDTH // limit)
    if used and not filled:
        filled = 1
    return "█" * filled + "░" * (_WIDTH - filled)


def _distance(moment: datetime, now: datetime) -> str:
    seconds = max(0, round((moment - now).total_seconds()))
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"in {seconds // size} {unit}"
    return f"in {seconds} s"
