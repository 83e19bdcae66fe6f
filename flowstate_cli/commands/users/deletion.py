"""`flowstate users delete`: an account, everything that is kept about it, and its traces."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from flowstate_cli.api import Api, Row, open_api
from flowstate_cli.commands.users.arguments import UserArgument
from flowstate_cli.commands.users.exporting import export_to
from flowstate_cli.errors import BadInputError, RefusedError
from flowstate_cli.inputs import is_uuid
from flowstate_cli.output import JsonFlag, YesFlag, confirm_by_typing, emit_fields, emit_json, say
from flowstate_cli.user_export import refuse_existing

_WAIT_SECONDS = 1.0


def delete(
    user: UserArgument,
    *,
    reason: Annotated[
        str,
        typer.Option(
            "--reason",
            help="Why; it stays in the audit trail, so name nobody.",
            show_default=False,
        ),
    ],
    export: Annotated[
        Path | None,
        typer.Option(
            "--export", help="First write everything into this zip file.", show_default=False
        ),
    ] = None,
    no_export: Annotated[
        bool, typer.Option("--no-export", help="Delete without writing an export.")
    ] = False,
    yes: YesFlag = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Delete a user for good: the account, flows, queue, history. It cannot be taken back.

    Shows what will go and asks for the e-mail address. Then writes the export, and calls
    delete_user until running calls have ended and everything is erased. Repeat the command when
    it was interrupted; by id, once the account is gone.

    Exit codes: 0 deleted; 1 no such user, or the last owner; 2 bad input, or nobody to ask and
    no --yes; 3 no API.

    Example: flowstate users delete ana@example.com --export ana.zip --reason 'asked for it'
    """
    if (export is None) != no_export:
        raise BadInputError(
            "Say where everything is exported to first, or that it is not.",
            field="--export",
            hint="--export FILE or --no-export.",
        )
    if export:
        refuse_existing(export, "--export")
    with open_api() as api:
        user_id, found = _find(api, user)
        if dry_run:
            _show(user_id, found, as_json=as_json)
            return
        if found:
            if not (yes or as_json):
                _show(user_id, found, as_json=False)
            question = "All of this goes, and it cannot be taken back."
            confirm_by_typing(found["email"] or user_id, question, yes=yes, as_json=as_json)
            if export:
                export_to(api, user_id, export, "--export")
        erased = _delete(api, user_id, reason)
    if as_json:
        emit_json({"user_id": user_id, "state": "deleted", "erased": erased})
    else:
        say(f"Deleted; {erased} row(s) of history are erased.")


def _find(api: Api, user: str) -> tuple[str, Row | None]:
    """The user; only the id where the account is gone and its history perhaps not yet."""
    user_id = user.lower() if is_uuid(user) else api.user_id(user, "user")
    try:
        return user_id, api.rpc("get_user", {"user_id": user_id})
    except RefusedError as error:
        if error.code != "PT404":
            raise
        return user_id, None


def _show(user_id: str, found: Row | None, *, as_json: bool) -> None:
    if as_json:
        emit_json(found or {"user_id": user_id, "state": "gone"})
    elif found is None:
        say("There is no account with this id; what is left of its history goes.")
    else:
        emit_fields(
            {
                "user": user_id,
                "e-mail": found["email"],
                "tier": found["tier"],
                "role": found["role"],
                "state": found["state"],
                "flows": found["flows"],
                **found["queue"],
                "dead letters": found["dead_letters"],
            }
        )


def _delete(api: Api, user_id: str, reason: str) -> int:
    """Rows of history that were erased."""
    erased: int = 0
    told = ""
    try:
        while True:
            step = _step(api, user_id, reason, begun=bool(told))
            erased += int(step["erased"])
            if step["state"] == "deleted":
                return erased
            waiting = f"Waiting for {step['running']} running execution(s) to end."
            text = waiting if step["state"] == "ending" else f"{erased} row(s) of history erased."
            if text != told:
                say(text)
                told = text
            if step["state"] == "ending":
                time.sleep(_WAIT_SECONDS)
    except KeyboardInterrupt:
        command = f"flowstate users delete {user_id} --no-export --reason {shlex.quote(reason)}"
        say(f"The deletion is not done. Go on with: {escape(command)}")
        raise


def _step(api: Api, user_id: str, reason: str, *, begun: bool) -> Row:
    try:
        step: Row = api.rpc("delete_user", {"user_id": user_id, "reason": reason})
    except RefusedError as error:
        # A worker's maintenance may have erased the last rows in between.
        if begun and error.code == "PT404":
            return {"state": "deleted", "running": 0, "erased": 0}
        raise
    return step
