"""`flowstate flows`: create, list, show and validate flows."""

from __future__ import annotations

from typing import Annotated, Any

import typer
import yaml

from flowstate_cli.api import Api, Row, open_api
from flowstate_cli.errors import BadInputError, RefusedError
from flowstate_cli.inputs import read_document
from flowstate_cli.output import (
    JsonFlag,
    emit_fields,
    emit_json,
    emit_table,
    emit_text,
    say,
)

app = typer.Typer(name="flows", no_args_is_help=True, help="Create, list, show and check flows.")

FileArgument = Annotated[
    str,
    typer.Argument(
        help='YAML or JSON with a list of steps: {"steps": [...]}. `-` reads stdin.',
        show_default=False,
    ),
]
UserOption = Annotated[
    str, typer.Option("--user", help="Whose: a user's id or e-mail address.", show_default=False)
]
LimitOption = Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most so many rows.")]
_COLUMNS = "id, user_id, name, kind, is_enabled, version, updated_at"


@app.command("create")
def create(
    file: FileArgument,
    *,
    user: UserOption,
    name: Annotated[
        str, typer.Option("--name", help="What the user calls it, up to 200 characters.")
    ],
    max_attempts: Annotated[
        int, typer.Option("--max-attempts", min=1, max=25, help="Then it is a dead letter.")
    ] = 5,
    deadline_seconds: Annotated[
        int, typer.Option("--deadline", min=5, max=300, help="Run time of one attempt, in seconds.")
    ] = 300,
    replace: Annotated[
        bool, typer.Option("--replace", help="Change the user's flow of this name if there is one.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Store a flow for a user, after checking it.

    Reads the file. Writes one row of flows, and a new version of it with --replace: executions
    that were accepted before go on with the version they were accepted with.

    Exit codes: 0 stored; 1 no such user, or the name is taken; 2 the flow is not valid; 3 no API.

    Example: flowstate flows create invoices.yaml --name invoices --user ana@example.com
    """
    definition = read_document(file, "file")
    if not 1 <= len(name) <= 200:
        raise BadInputError("A name has 1 to 200 characters.", field="--name")
    with open_api() as api:
        owner = api.user_id(user)
        _refuse_invalid(file, problems_of(api, definition))
        row: Row = {
            "user_id": owner,
            "name": name,
            "definition": definition,
            "max_attempts": max_attempts,
            "deadline_seconds": deadline_seconds,
        }
        table = api.table("flows")
        query = table.upsert(row, on_conflict="user_id,name") if replace else table.insert(row)
        try:
            [flow] = api.rows(query)
        except RefusedError as error:
            if error.code != "23505":
                raise
            raise RefusedError(
                f"The user has a flow called {name!r} already.",
                field="--name",
                hint="Choose another name, or change that flow with --replace.",
            ) from error
    if as_json:
        emit_json(flow)
        return
    emit_fields({"flow": flow["id"], "name": flow["name"], "version": flow["version"]})
    say(f"Run it: flowstate enqueue {flow['id']}")


@app.command("list")
def list_flows(
    user: UserOption = "",
    limit: LimitOption = 50,
    as_json: JsonFlag = False,
) -> None:
    """List flows, the latest changed first.

    Reads flows. Exit codes: 0 listed, even when there are none; 1 no such user; 3 no API.

    Example: flowstate flows list --user ana@example.com
    """
    with open_api() as api:
        query = api.table("flows").select(_COLUMNS).order("updated_at", desc=True).limit(limit)
        if user:
            query = query.eq("user_id", api.user_id(user))
        rows = api.rows(query)
    if as_json:
        emit_json(rows)
        return
    emit_table(
        ("flow", "name", "version", "enabled", "user", "changed"),
        [
            (
                row["id"],
                row["name"],
                row["version"],
                "yes" if row["is_enabled"] else "no",
                row["user_id"],
                row["updated_at"][:19],
            )
            for row in rows
        ],
    )


@app.command("show")
def show(
    flow: Annotated[str, typer.Argument(help="A flow's id, or its name.", show_default=False)],
    user: UserOption = "",
    as_json: JsonFlag = False,
) -> None:
    """Show one flow with its steps.

    Reads flows. The definition is printed as YAML that `flows create` reads back.

    Exit codes: 0 shown; 1 no such flow, or more than one of that name; 3 no API.

    Example: flowstate flows show invoices --user ana@example.com
    """
    with open_api() as api:
        row = api.flow(flow, api.user_id(user) if user else None)
    if as_json:
        emit_json(row)
        return
    definition = row.pop("definition")
    emit_fields(row)
    emit_text("\n" + yaml.safe_dump(definition, sort_keys=False, allow_unicode=True))


@app.command("validate")
def validate(file: FileArgument, as_json: JsonFlag = False) -> None:
    """Check a flow without storing it.

    Reads the file; asks validate_flow_definition in the database, which is also what refuses an
    invalid flow when it is stored. Each problem has a path, a code and a message.

    Exit codes: 0 valid; 2 not valid, or the file cannot be read; 3 no API.

    Example: flowstate flows validate invoices.yaml
    """
    definition = read_document(file, "file")
    with open_api() as api:
        problems = problems_of(api, definition)
    if as_json:
        emit_json({"valid": not problems, "problems": problems})
    if not problems:
        say("The flow is valid.")
        return
    if as_json:
        say(f"{len(problems)} problem(s).")
        raise typer.Exit(BadInputError.exit_code)
    _refuse_invalid(file, problems)


def problems_of(api: Api, definition: Row) -> list[dict[str, Any]]:
    """What the database finds wrong with a definition: path, code and message each."""
    return list(api.rpc("validate_flow_definition", {"definition": definition}))


def _refuse_invalid(file: str, problems: list[dict[str, Any]]) -> None:
    if problems:
        lines = [f"{p['path']} ({p['code']}): {p['message']}" for p in problems]
        name = "stdin" if file == "-" else file
        raise BadInputError(
            f"{name} is not a valid flow: {len(problems)} problem(s).", hint="\n  ".join(lines)
        )
