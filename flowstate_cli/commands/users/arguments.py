"""What the commands on one user share: how the user and the reason are given, and the answer."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from flowstate_cli.api import Api, Row
from flowstate_cli.errors import BadInputError
from flowstate_cli.limits import named
from flowstate_cli.output import emit_fields, emit_json

UserArgument = Annotated[
    str,
    typer.Argument(help="A user's id or e-mail address.", show_default=False, metavar="USER"),
]
ReasonOption = Annotated[
    str,
    typer.Option("--reason", help="Why; it is kept in the audit trail.", show_default=False),
]


class Role(StrEnum):
    """What a person may do beyond their own things."""

    USER = "user"
    SUPPORT = "support"
    ADMIN = "admin"
    OWNER = "owner"


class State(StrEnum):
    """Whether anything of a user runs."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    DELETING = "deleting"


def require_tier(api: Api, tier: str, field: str = "--tier") -> None:
    """Raises BadInputError for a tier that is not there."""
    rows = api.rows(api.table("subscription_tiers").select("tier").order("tier"))
    known = [row["tier"] for row in rows]
    if tier not in known:
        raise BadInputError(
            f"There is no tier {tier[:60]!r}.", field=field, hint=f"There are {', '.join(known)}."
        )


def answer(user: Row, as_json: bool) -> None:
    """A user as the changing functions return one."""
    if as_json:
        emit_json(user)
        return
    emit_fields(
        {
            "user": user["user_id"],
            "e-mail": user["email"],
            "tier": user["tier"],
            "role": user["role"],
            "state": user["state"],
            **named(user["limits"]),
        }
    )
