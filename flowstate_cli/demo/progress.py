"""What is shown while the demo runs: a live table on a terminal, else a line now and then."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table

from flowstate_cli.demo.people import Admission
from flowstate_cli.demo.plan import TIERS

_LINE_SECONDS = 3.0


class Progress:
    """Speaks on stderr; says nothing at all when `quiet`."""

    def __init__(self, *, quiet: bool) -> None:
        self._console = Console(stderr=True, highlight=False, soft_wrap=True, quiet=quiet)
        self._started = time.monotonic()
        self._live: Live | None = None
        self._next_line_at = self._started

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._started

    def say(self, text: str) -> None:
        """What happens now, in a line."""
        self._console.print(f"[dim]{self.seconds:5.1f} s[/dim]  {escape(text)}")

    @contextmanager
    def watching(self) -> Iterator[None]:
        """While `update` is called again and again."""
        self._next_line_at = time.monotonic() + _LINE_SECONDS
        if not self._console.is_terminal or self._console.quiet:
            yield
            return
        with Live(console=self._console, transient=True, refresh_per_second=8) as self._live:
            yield
        self._live = None

    def update(self, admission: Admission, queue: Mapping[str, Any]) -> None:
        """The newest figures: admission so far, and what get_queue_status() says."""
        if self._live is not None:
            self._live.update(_table(admission, queue["tiers"]))
        elif time.monotonic() >= self._next_line_at:
            self._next_line_at = time.monotonic() + _LINE_SECONDS
            accepted = len(admission.accepted)
            live = sum(queue["states"].values())
            running = queue["states"].get("running", 0)
            self.say(
                f"{accepted} accepted, {admission.refused} refused; "
                f"{max(0, accepted - live)} done, {running} running, {live - running} queued"
            )


def count(number: int, noun: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _table(admission: Admission, tiers: Mapping[str, Mapping[str, int]]) -> Table:
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("tier", "accepted", "refused", "queued", "running", "done"):
        table.add_column(column, justify="left" if column == "tier" else "right")
    table.add_column("", min_width=24)
    for tier in TIERS:
        accepted = admission.accepted_by_tier[tier]
        states = tiers.get(tier, {})
        live = sum(states.values())
        running = states.get("running", 0)
        done = max(0, accepted - live)
        bar = ProgressBar(total=max(1, accepted), completed=done, width=24)
        refused = admission.refused_by_tier[tier]
        figures = (accepted, refused, live - running, running, done)
        table.add_row(tier, *map(str, figures), bar)
    return table
