"""`flowstate users export`: everything that is kept about a user, in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from flowstate_cli.api import Api, open_api
from flowstate_cli.commands.users.arguments import UserArgument
from flowstate_cli.output import JsonFlag, emit_json, say
from flowstate_cli.user_export import refuse_existing, write_export


def export(
    user: UserArgument,
    *,
    output: Annotated[
        Path,
        typer.Option("--output", help="A zip file that does not exist yet.", show_default=False),
    ],
    as_json: JsonFlag = False,
) -> None:
    """Write everything that is kept about a user into a zip file of JSON Lines files.

    Reads export_user_data page by page. Writes the file, readable by its owner only, under its
    name once it is complete: what fails half-way leaves nothing behind.

    Exit codes: 0 written; 1 no such user; 2 the file exists or cannot be made; 3 no API.

    Example: flowstate users export ana@example.com --output ana.zip
    """
    refuse_existing(output, "--output")
    with open_api() as api:
        counts = export_to(api, api.user_id(user, "user"), output, "--output")
    if as_json:
        emit_json({"file": str(output), "rows": counts})


def export_to(api: Api, user_id: str, path: Path, field: str) -> dict[str, int]:
    """Rows by data set, told on stderr as they are written."""
    counts = write_export(
        api, user_id, path, field, told=lambda name, rows: say(f"{escape(name)}: {rows} row(s)")
    )
    say(f"Written: {escape(str(path))}")
    return counts
