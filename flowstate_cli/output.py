"""What a command prints: a result on stdout, everything said to a person on stderr.

With `--json` the result is one JSON document and nothing else reaches stdout, also when the
command fails: then it is `{"error": {...}}`. `logs --follow --json` prints one line per row.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flowstate_cli.errors import BadInputError, CliError, RefusedError

_PIPE_WIDTH = 1000  # a pipe has no width: rows stay on one line, for grep

JsonFlag = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print the result as JSON on stdout; messages stay on stderr.",
    ),
]
YesFlag = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]


def say(message: str) -> None:
    """One line for a person, on stderr. `message` may hold Rich markup, so escape what is data."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(message)


def emit_json(data: Any) -> None:
    """The machine-readable result. Called once per command."""
    sys.stdout.write(json.dumps(data, indent=2, ensure_ascii=False, default=str) + "\n")


def emit_json_line(data: Any) -> None:
    """One row of a stream of them."""
    sys.stdout.write(json.dumps(data, ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()


def emit_text(text: str) -> None:
    """Text that is itself the result (SQL, environment lines): printed as it is."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


def emit_table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> None:
    """A table for people. None is shown as a dash."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    table = Table(title=title or None, title_justify="left", header_style="bold", box=None)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*("-" if cell is None else escape(str(cell)) for cell in row))
    console.print(table)


def emit_fields(fields: dict[str, object]) -> None:
    """One record for people, a line per field."""
    width = max((len(name) for name in fields), default=0)
    console = Console(highlight=False, soft_wrap=True)
    for name, value in fields.items():
        shown = "-" if value is None else escape(str(value))
        console.print(f"[bold]{name:<{width}}[/bold]  {shown}")


def confirm(question: str, *, yes: bool, as_json: bool) -> None:
    """Asks before something is destroyed. Raises BadInputError where nobody can answer."""
    if yes:
        return
    _refuse_without_anybody(as_json=as_json)
    if not typer.confirm(question, err=True):
        raise RefusedError("Nothing was changed.")


def confirm_by_typing(name: str, warning: str, *, yes: bool, as_json: bool) -> None:
    """As `confirm`, for what must not happen to the wrong one: its name has to be typed."""
    if yes:
        return
    _refuse_without_anybody(as_json=as_json)
    say(warning)
    if typer.prompt(f"Type {name} to go on", default="", show_default=False, err=True) != name:
        raise RefusedError("Nothing was changed.")


def _refuse_without_anybody(*, as_json: bool) -> None:
    if as_json or not sys.stdin.isatty():
        raise BadInputError(
            "This destroys something and there is nobody to ask.",
            field="--yes",
            hint="Repeat the command with --yes.",
        )


def report(error: CliError, *, as_json: bool) -> None:
    """A failure: for people on stderr, and with `--json` also on stdout."""
    field = f"{escape(error.field)}: " if error.field else ""
    say(f"[bold red]error[/bold red]: {field}{escape(error.message)}")
    if error.hint:
        say(f"  {escape(error.hint)}")
    if as_json:
        emit_json(error.as_json())
