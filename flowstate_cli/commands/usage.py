"""`flowstate usage`: how much of their limits one user, or each tier, has used."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from flowstate_cli.api import Api, open_api
from flowstate_cli.output import JsonFlag, emit_fields, emit_json, emit_table
from flowstate_cli.usage import emit_usage


def usage(
    user: Annotated[
        str,
        typer.Argument(
            help="A user's id or e-mail address; without one, all tiers.",
            show_default=False,
            metavar="USER",
        ),
    ] = "",
    as_json: JsonFlag = False,
) -> None:
    """Show what a user has used of each limit and when there is room again, or each tier's use.

    Reads get_user, or get_usage_by_tier. The windows slide: one of an hour is full until the
    oldest of its executions is an hour old.

    Exit codes: 0 shown; 1 no such user; 2 bad input; 3 no API.

    Example: flowstate usage ana@example.com
    """
    with open_api() as api:
        if not user:
            _show_tiers(api, as_json)
            return
        found = api.rpc("get_user", {"user_id": api.user_id(user, "user")})
    if as_json:
        emit_json(found["usage"])
        return
    override = found["override"]
    emit_fields(
        {
            "user": found["email"] or found["user_id"],
            "tier": found["tier"],
            **({"override until": override["ends_at"][:19]} if override else {}),
        }
    )
    emit_usage(found["usage"])


def _show_tiers(api: Api, as_json: bool) -> None:
    rows: list[dict[str, Any]] = api.rpc("get_usage_by_tier")
    if as_json:
        emit_json(rows)
        return
    names = ("users", "accepted_last_hour", "accepted_last_day", "running", "queued")
    emit_table(
        ("tier", "users", "in the last hour", "in the last day", "running", "queued"),
        [(row["tier"], *(row[name] for name in names)) for row in rows],
    )
