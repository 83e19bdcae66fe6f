"""`flowstate users sessions`: where a user is signed in, and ending it."""

from __future__ import annotations

from typing import Annotated

import typer

from flowstate_cli.api import Api, open_api
from flowstate_cli.commands.users.arguments import UserArgument
from flowstate_cli.errors import BadInputError, RefusedError
from flowstate_cli.inputs import parse_uuid
from flowstate_cli.output import JsonFlag, emit_json, emit_table, say

_COLUMNS = "id, method, device, address, created_at, last_seen_at, ended_at, end_reason"
_MOST = 200


def sessions(
    user: UserArgument,
    *,
    revoke: Annotated[
        str, typer.Option("--revoke", help="End the sign-in with this id.", show_default=False)
    ] = "",
    revoke_all: Annotated[
        bool, typer.Option("--revoke-all", help="End every sign-in of the user.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """List a user's sign-ins, the latest first, or end one or all of them.

    Reads user_sessions; calls revoke_session or revoke_all_sessions.

    Exit codes: 0 listed or ended; 1 no such user or sign-in; 2 bad input; 3 no API.

    Examples: flowstate users sessions ana@example.com

    flowstate users sessions ana@example.com --revoke-all
    """
    if revoke and revoke_all:
        raise BadInputError("All of them include this one.", field="--revoke")
    session_id = parse_uuid(revoke, "--revoke") if revoke else ""
    with open_api() as api:
        user_id = api.user_id(user, "user")
        if session_id or revoke_all:
            revoked = _revoke(api, user_id, session_id)
            if as_json:
                emit_json({"revoked": revoked})
            else:
                say(f"{revoked} sign-in(s) ended.")
            return
        query = api.table("user_sessions").select(_COLUMNS).eq("user_id", user_id)
        rows = api.rows(query.order("last_seen_at", desc=True).limit(_MOST))
    if as_json:
        emit_json(rows)
        return
    emit_table(
        ("sign-in", "since", "last seen", "from", "device", "ended"),
        [
            (
                row["id"],
                row["created_at"][:19],
                row["last_seen_at"][:19],
                row["address"],
                row["device"],
                row["ended_at"] and f"{row['ended_at'][:19]} ({row['end_reason']})",
            )
            for row in rows
        ],
    )


def _revoke(api: Api, user_id: str, session_id: str) -> int:
    if not session_id:
        arguments = {"user_id": user_id, "keep_current": False}
        return int(api.rpc("revoke_all_sessions", arguments)["revoked"])
    query = api.table("user_sessions").select("id").eq("id", session_id).eq("user_id", user_id)
    if not api.rows(query):
        raise RefusedError(
            f"The user has no sign-in {session_id}.",
            field="--revoke",
            hint="See: flowstate users sessions USER",
        )
    return int(api.rpc("revoke_session", {"session_id": session_id})["revoked"])
