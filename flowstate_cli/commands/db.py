"""`flowstate db`: one truth for SQL."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from flowstate_cli.errors import BadInputError
from flowstate_cli.output import JsonFlag, emit_json, emit_text, say
from flowstate_cli.project import find_project
from flowstate_cli.sql.workflow import Compiled, compile_migration

app = typer.Typer(
    name="db", no_args_is_help=True, help="Compile sql/ into migrations, check them, push them."
)


@app.command("compile")
def compile_command(
    name: Annotated[
        str,
        typer.Argument(
            help="What the migration is about: lower-case words joined by underscores. "
            "With --amend it may be left out.",
            show_default=False,
        ),
    ] = "",
    amend: Annotated[
        bool,
        typer.Option(
            "--amend",
            help="Write the newest compiled migration again, in place. Only before the first "
            "release: after it, migrations never change.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the migration, write nothing.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Write one new migration with what changed under sql/.

    Reads sql/ and the headers of the compiled migrations; needs no database. Writes
    supabase/migrations/<UTC time>_<name>.sql, headed by the path and hash of each included file,
    with a drop for every object that is gone. Nothing changed: says so and writes nothing.

    Exit codes: 0 written, or nothing to do; 1 refused; 2 a source or the name cannot be right.

    Example: flowstate db compile queue_functions
    """
    if not name and not amend:
        raise BadInputError(
            "The migration needs a name.", field="name", hint="Example: flowstate db compile limits"
        )
    compiled = compile_migration(
        find_project(), name, amend=amend, dry_run=dry_run, now=datetime.now(UTC)
    )
    if as_json:
        emit_json(_as_json(compiled))
        return
    if compiled.text is None:
        say("Nothing changed since the last compiled migration.")
        return
    if dry_run:
        emit_text(compiled.text)
    for path in compiled.changed:
        say(f"  {path}")
    for path in compiled.dependents:
        say(f"  {path} (made again: it depends on something that is dropped)")
    for path in compiled.removed:
        say(f"  {path} (removed)")
    for drop in compiled.drops:
        say(f"  {drop}")
    say(f"{'Would write' if dry_run else 'Wrote'} {compiled.path}")
    if compiled.newer:
        say(f"[yellow]note[/yellow]: newer migrations run after it: {', '.join(compiled.newer)}")


def _as_json(compiled: Compiled) -> dict[str, object]:
    return {
        "migration": compiled.path if compiled.text is not None else None,
        "changed": compiled.changed,
        "dependents": compiled.dependents,
        "removed": compiled.removed,
        "drops": compiled.drops,
    }
