"""`flowstate policies`: who may do what, tried out."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from flowstate_cli.errors import RefusedError
from flowstate_cli.output import JsonFlag, emit_json, emit_table, say
from flowstate_cli.policies.callers import Caller
from flowstate_cli.policies.report import Examined, Matrix
from flowstate_cli.policies.rules import load_rules
from flowstate_cli.policies.run import check_database
from flowstate_cli.settings import load_settings

app = typer.Typer(
    name="policies", no_args_is_help=True, help="Try who can do what, and compare with the rules."
)


@app.callback()
def _group() -> None:
    """Keeps `check` a command of its own while it is the only one."""


@app.command("check")
def check_command(
    database_url: Annotated[
        str,
        typer.Option(
            "--database-url",
            help="This database instead of FLOWSTATE_DATABASE_URL or the local stack's; as the "
            "role postgres.",
            show_default=False,
        ),
    ] = "",
    further: Annotated[
        list[Path] | None,
        typer.Option(
            "--rules",
            help="Rules for objects of your own, in the form of FlowState's rules.toml. "
            "Can be repeated.",
            show_default=False,
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="List one by one also what nobody can reach.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Try every verb on every object as everybody, and compare with what the rules say.

    Callers: nobody signed in, a user on their own rows and on another user's, support, an admin,
    an owner, the service role. Objects come from the catalogs: tables, partitions, views,
    sequences, functions, Realtime topics. What is found and in no rule is a difference, and so is
    a rule without its object. Statements run as the API runs them.

    Writes nothing: users and rows are made in one transaction, which is rolled back. For some
    seconds it holds the locks that inserts, updates and deletes of these rows take.

    Exit codes: 0 as the rules say; 1 differences; 2 rules that cannot be read; 3 no database, or
    FlowState is not installed in it.

    Example: flowstate policies check --database-url postgresql://postgres:…@db.example.com/postgres
    """
    rules = load_rules(*(further or []))
    url = database_url or load_settings().database()
    say("Trying what everybody can do. What it makes and locks is undone in some seconds.")
    matrix = check_database(url, rules)
    if as_json:
        emit_json(
            {
                "ok": not matrix.failing,
                "objects": [found.as_json() for found in matrix.objects],
            }
        )
    else:
        _print(matrix, everything=everything)
    for line in matrix.lines():
        say(escape(line))
    if matrix.failing:
        raise typer.Exit(RefusedError.exit_code)
    say(f"{len(matrix.objects)} objects: everybody can do what the rules say, and nothing else.")


def _print(matrix: Matrix, *, everything: bool) -> None:
    rows = []
    for group, members in groupby(matrix.objects, lambda found: _group_of(found, everything)):
        alike = list(members)
        name = f"{group} ({len(alike)})" if group else ""
        rows += [[name, *_cells(alike[0])]] if group else [_row(found) for found in alike]
    emit_table(["object", *(caller.value for caller in Caller)], rows)
    say("s select or hear, i insert or send, u update, d delete, x call, p presence; - nothing.")


def _row(found: Examined) -> list[str | None]:
    mark = "! " if found.problems else ""
    return [f"{mark}{found.title}", *_cells(found)]


def _group_of(found: Examined, everything: bool) -> str:
    """What stands for objects that nobody can reach; empty for a row of its own."""
    if everything or found.problems or any(found.found.values()):
        return ""
    schema, dot, _ = found.name.partition(".")
    if not dot or not found.found:
        return ""
    return f"partitions in {schema}" if found.kind.startswith("partition") else f"{schema}.*"


def _cells(found: Examined) -> list[str | None]:
    """Letters for each caller: `+u` may and should not, `-u` should and may not."""
    cells: list[str | None] = []
    for caller in Caller:
        if caller not in found.found:
            cells.append("")
            continue
        letters, expected = found.found[caller], found.expected[caller]
        missing = "".join(f"-{letter}" for letter in expected if letter not in letters)
        shown = "".join(x if x in expected else f"+{x}" for x in letters)
        cells.append(shown + missing or None)
    return cells
