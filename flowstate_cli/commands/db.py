"""`flowstate db`: one truth for SQL."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.markup import escape

from flowstate_cli import supabase_cli
from flowstate_cli.database import migration_history, open_database
from flowstate_cli.errors import BadInputError, RefusedError
from flowstate_cli.output import JsonFlag, emit_json, emit_text, say
from flowstate_cli.project import find_project
from flowstate_cli.settings import load_settings
from flowstate_cli.sql.check import catalog_differences, stale_sources
from flowstate_cli.sql.workflow import Compiled, compile_migration
from flowstate_cli.stack import wait_for_schema

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


@app.command("check")
def check_command(
    offline: Annotated[
        bool, typer.Option("--offline", help="Compare hashes only; needs no database.")
    ] = False,
    database_url: Annotated[
        str,
        typer.Option(
            "--database-url",
            help="Compare this database's catalogs instead of those of a fresh one. Everything "
            "is rolled back, but tables are locked meanwhile: not for a live database.",
            show_default=False,
        ),
    ] = "",
    as_json: JsonFlag = False,
) -> None:
    """Check that the migrations hold exactly what sql/ says.

    First gate: the hash of every file under sql/ is the one that the migrations record, and its
    text stands there unedited. Second gate: in a database built from the migrations (a throw-away
    one of the local stack, unless --database-url names another), applying sql/ again changes no
    definition, grant or comment, and nothing exists that sql/ does not create. Writes nothing.

    Exit codes: 0 they agree; 1 they do not; 2 a source cannot be read; 3 no database.

    Example: flowstate db check --offline
    """
    project = find_project()
    stale = stale_sources(project)
    found = [] if offline or stale else catalog_differences(project, database_url or None)
    if as_json:
        emit_json(
            {
                "ok": not stale and not found,
                "stale": [{"path": path, "problem": stale[path]} for path in sorted(stale)],
                "differences": [vars(difference) for difference in found],
                "catalogs_compared": not offline and not stale,
            }
        )
    for path in sorted(stale):
        say(f"  {path}: {stale[path]}")
    for difference in found:
        say(f"  {escape(f'{difference.kind} {difference.identity}: {difference.problem}')}")
        for line in difference.detail.splitlines():
            say(f"      {escape(line)}")
    if stale:
        _fail(as_json, "The migrations do not hold what sql/ says.", "flowstate db compile <name>")
    if found:
        _fail(
            as_json,
            "A database built from the migrations is not what sql/ says.",
            "flowstate db compile <name>, or a migration that drops what is left over",
        )
    say("The migrations hold what sql/ says.")


@app.command("push")
def push_command(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the migrations, apply none.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Apply the migrations that the database does not have yet.

    Reads supabase/migrations and FLOWSTATE_DATABASE_URL, or the local stack where that is not
    set. Writes the database, through the official Supabase CLI (`supabase db push`), one
    transaction for each migration.

    Exit codes: 0 applied, or up to date; 1 a migration failed; 3 no database, or no Supabase CLI.

    Example: flowstate db push --dry-run
    """
    project = find_project()
    settings = load_settings()
    url = settings.database()
    with open_database(url) as connection:
        history = migration_history(connection, project)
    if history.foreign:
        raise RefusedError(
            f"The database has a migration that this project does not: {history.foreign[0]}.",
            hint="Update this checkout. Before the first release: the migrations were compiled "
            "anew, so make the local database anew with `flowstate reset`.",
        )
    pending = history.pending
    supabase_cli.push(project, url, dry_run=dry_run, tell=lambda line: say(f"  {escape(line)}"))
    if settings.is_local and not dry_run:
        wait_for_schema(project)
    if as_json:
        emit_json({"migrations": pending, "applied": bool(pending) and not dry_run})
    elif not pending:
        say("The database is up to date.")
    else:
        say(f"{'Would apply' if dry_run else 'Applied'} {len(pending)} migration(s).")


def _fail(as_json: bool, message: str, hint: str) -> None:
    """The result is printed already, so this only ends the command."""
    if as_json:
        say(f"[bold red]error[/bold red]: {message}")
        raise typer.Exit(RefusedError.exit_code)
    raise RefusedError(message, hint=f"Run: {hint}")
