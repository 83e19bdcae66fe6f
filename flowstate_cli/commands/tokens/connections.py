"""`flowstate tokens connect` and `disconnect`: one user's connection to Google."""

from __future__ import annotations

from typing import Annotated

import typer

from flowstate_cli.api import open_api
from flowstate_cli.errors import EXIT_FAILED, EXIT_OK, RefusedError
from flowstate_cli.google_tokens import end_grant, key_ring_or_none, read_answer, store
from flowstate_cli.inputs import read_secret_object
from flowstate_cli.output import JsonFlag, YesFlag, confirm, emit_fields, emit_json, say

UserOption = Annotated[
    str, typer.Option("--user", help="A user's id or e-mail address.", show_default=False)
]
_AT_GOOGLE = "https://myaccount.google.com/connections"


def connect(
    user: UserOption,
    file: Annotated[
        str,
        typer.Option(
            "--file",
            help="Google's JSON answer to the exchanged code, - for stdin.",
            show_default=False,
        ),
    ],
    as_json: JsonFlag = False,
) -> None:
    """Keep the tokens that Google gave for a user, sealed. Nothing of them is shown.

    Reads Google's answer; the refresh token is what is kept, and a fresh access token is asked for
    when one is needed. Writes the user's connection, in place of an earlier one, and the audit log.

    Exit codes: 0 connected; 1 no such user, or being deleted; 2 not an answer with a refresh
    token, or a setting is wrong; 3 no API or no key.

    Example: flowstate tokens connect --user ana@example.com --file answer.json
    """
    answer = read_answer(read_secret_object(file, "--file"))
    with open_api() as api:
        stored = store(api, api.user_id(user), answer)
    if as_json:
        emit_json(stored)
        return
    emit_fields(
        {
            "user": stored["user_id"],
            "status": stored["status"],
            "key": stored["key_id"],
            "scopes": " ".join(answer.scopes),
        }
    )
    if file != "-":
        say("The file holds readable tokens: delete it.")


def disconnect(user: UserOption, yes: YesFlag = False, as_json: JsonFlag = False) -> None:
    """Delete a user's tokens here, and end their grant at Google.

    Writes the user's connection and the audit log, and calls Google's revoke address. Flows that
    need the tokens fail from then on.

    Exit codes: 0 ended, here and at Google; 1 no such user, not connected, or deleted here while
    Google did not end the grant; 2 nobody to ask and no --yes, or a setting is wrong; 3 no API.

    Example: flowstate tokens disconnect --user ana@example.com --yes
    """
    with open_api() as api:
        user_id = api.user_id(user)
        confirm("Delete this user's Google tokens?", yes=yes, as_json=as_json)
        key_ring_or_none(api)  # a wrong setting is refused before anything is deleted
        ended = api.rpc("disconnect_google", {"user_id": user_id})
        if not ended["disconnected"]:
            raise RefusedError("This user is not connected to Google.", field="--user")
        reason = end_grant(api, user_id, ended)
    if as_json:
        told = {"ended_at_google": reason is None, "reason": reason}
        emit_json({"user_id": user_id, "disconnected": True, **told})
        raise typer.Exit(EXIT_OK if reason is None else EXIT_FAILED)
    if reason is not None:
        raise RefusedError(
            f"The tokens are deleted here, but the grant at Google is not ended ({reason}).",
            hint=f"Its user can end it: {_AT_GOOGLE}",
        )
    emit_fields({"user": user_id, "disconnected": "here and at Google"})
