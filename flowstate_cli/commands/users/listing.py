"""`flowstate users list` and `show`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from flowstate_cli.api import Api, Row, open_api
from flowstate_cli.commands.users.arguments import Role, State, UserArgument, require_tier
from flowstate_cli.output import JsonFlag, emit_fields, emit_json, emit_table
from flowstate_cli.usage import emit_usage

_PAGE = 500


def list_users(
    *,
    tier: Annotated[
        str, typer.Option("--tier", help="Only users of this tier.", show_default=False)
    ] = "",
    role: Annotated[
        Role | None, typer.Option("--role", help="Only this role.", show_default=False)
    ] = None,
    state: Annotated[
        State | None, typer.Option("--state", help="Only in this state.", show_default=False)
    ] = None,
    search: Annotated[
        str,
        typer.Option("--search", help="An id, or a whole e-mail address.", show_default=False),
    ] = "",
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=1_000_000, help="At most so many.")
    ] = 50,
    as_json: JsonFlag = False,
) -> None:
    """List users in the order of their ids, page by page.

    Reads list_users. Exit codes: 0 listed, even when there are none; 2 bad input; 3 no API.

    Example: flowstate users list --tier pro --state suspended
    """
    filters: dict[str, Any] = {"tier": tier, "role": role, "state": state, "search": search}
    with open_api() as api:
        if tier:
            require_tier(api, tier)
        rows = list(_pages(api, {k: v for k, v in filters.items() if v}, limit))
    if as_json:
        emit_json(rows)
        return
    emit_table(
        ("user", "e-mail", "tier", "role", "state", "override until", "last sign-in"),
        [
            (
                row["user_id"],
                row["email"],
                row["tier"],
                row["role"],
                row["state"],
                _moment(row["override_ends_at"]),
                _moment(row["last_sign_in_at"]),
            )
            for row in rows
        ],
    )


def show(user: UserArgument, as_json: JsonFlag = False) -> None:
    """Show one user: state, limits, what they use now, what they have queued.

    Reads get_user. Exit codes: 0 shown; 1 no such user; 2 bad input; 3 no API.

    Example: flowstate users show ana@example.com
    """
    with open_api() as api:
        found: Row = api.rpc("get_user", {"user_id": api.user_id(user, "user")})
    if as_json:
        emit_json(found)
        return
    override = found["override"]
    emit_fields(
        {
            "user": found["user_id"],
            "e-mail": found["email"],
            "name": found["display_name"],
            "tier": found["tier"],
            "role": found["role"],
            "state": found["state"],
            "suspended": _moment(found["suspended_at"]),
            "since": _moment(found["created_at"]),
            "last sign-in": _moment(found["last_sign_in_at"]),
            "override": override and f"until {_moment(override['ends_at'])}: {override['reason']}",
            "weight": found["limits"]["weight"],
            **found["queue"],
            "flows": found["flows"],
            "dead letters": found["dead_letters"],
        }
    )
    emit_usage(found["usage"])


def _pages(api: Api, filters: Row, limit: int) -> Iterator[Row]:
    """Up to `limit` rows. Each page begins after the last id of the one before."""
    after: str | None = None
    while limit > 0:
        most = min(limit, _PAGE)
        page = api.rpc("list_users", {**filters, "after": after, "max": most})
        yield from page
        if len(page) < most:
            return
        limit -= most
        after = page[-1]["user_id"]


def _moment(text: str | None) -> str | None:
    return text and text[:19]
