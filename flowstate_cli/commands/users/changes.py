"""`flowstate users set-tier`, `set-role`, `suspend`, `resume`."""

from __future__ import annotations

from typing import Annotated

import typer

from flowstate_cli.api import Row, open_api
from flowstate_cli.commands.users.arguments import ReasonOption, Role, UserArgument, answer
from flowstate_cli.output import JsonFlag, YesFlag, confirm, say


def set_tier(
    user: UserArgument,
    tier: Annotated[str, typer.Argument(help="See: flowstate tiers list", show_default=False)],
    reason: ReasonOption = "",
    as_json: JsonFlag = False,
) -> None:
    """Put a user on a tier. It acts on the next call.

    Calls set_user_tier. What was accepted before counts in the windows of the new tier too.

    Exit codes: 0 set; 1 no such user; 2 bad input, such as a tier that is not there; 3 no API.

    Example: flowstate users set-tier ana@example.com pro --reason 'paid'
    """
    _change("set_user_tier", user, as_json, tier=tier, reason=reason or None)


def set_role(
    user: UserArgument,
    role: Annotated[Role, typer.Argument(help="What they may do.", show_default=False)],
    reason: ReasonOption = "",
    as_json: JsonFlag = False,
) -> None:
    """Give a user a role: user, support, admin or owner. It acts on the next call.

    Calls set_user_role. The last owner keeps that role.

    Exit codes: 0 set; 1 no such user, or the last owner; 2 bad input; 3 no API.

    Example: flowstate users set-role ben@example.com support
    """
    _change("set_user_role", user, as_json, role=role.value, reason=reason or None)


def suspend(
    user: UserArgument, reason: ReasonOption, yes: YesFlag = False, as_json: JsonFlag = False
) -> None:
    """Suspend a user: nothing of theirs is accepted or started until `users resume`.

    Calls suspend_user. What is queued waits; what runs is cancelled, so it asks when something
    does. Their data stays, and they can read it.

    Exit codes: 0 suspended; 1 no such user, or the last owner; 2 bad input, or nobody to ask and
    no --yes; 3 no API.

    Example: flowstate users suspend ana@example.com --reason 'spam, ticket 4711'
    """
    with open_api() as api:
        user_id = api.user_id(user, "user")
        running = api.rpc("get_user", {"user_id": user_id})["queue"]["running"]
        if running:
            confirm(f"Cancel the {running} running execution(s)?", yes=yes, as_json=as_json)
        found: Row = api.rpc("suspend_user", {"user_id": user_id, "reason": reason})
    answer(found, as_json)
    if found["stopping"]:
        say(f"{found['stopping']} running execution(s) are being cancelled.")


def resume(user: UserArgument, reason: ReasonOption = "", as_json: JsonFlag = False) -> None:
    """End a suspension. What is queued goes on.

    Calls resume_user. Exit codes: 0 resumed; 1 no such user, or being deleted; 2 bad input;
    3 no API.

    Example: flowstate users resume ana@example.com --reason 'solved'
    """
    _change("resume_user", user, as_json, reason=reason or None)


def _change(function: str, user: str, as_json: bool, **arguments: str | None) -> None:
    with open_api() as api:
        found = api.rpc(function, {"user_id": api.user_id(user, "user"), **arguments})
    answer(found, as_json)
