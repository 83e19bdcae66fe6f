"""`flowstate users override`: an exception from the tier for one user, until a moment."""

from __future__ import annotations

from typing import Annotated

import typer

from flowstate_cli.api import Row, open_api
from flowstate_cli.commands.users.arguments import ReasonOption, UserArgument, answer
from flowstate_cli.errors import BadInputError
from flowstate_cli.inputs import parse_moment
from flowstate_cli.limits import (
    DayOption,
    HourOption,
    MaxRunningOption,
    MonthOption,
    WeightOption,
    parse_windows,
)
from flowstate_cli.output import JsonFlag


def override(
    user: UserArgument,
    *,
    hour: HourOption = "",
    day: DayOption = "",
    month: MonthOption = "",
    weight: WeightOption = None,
    max_running: MaxRunningOption = None,
    until: Annotated[
        str,
        typer.Option(
            "--until", help="Its end: an ISO 8601 time with an offset.", show_default=False
        ),
    ] = "",
    reason: ReasonOption = "",
    clear: Annotated[
        bool, typer.Option("--clear", help="End the exception now: the tier holds again.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Except a user from limits of the tier until a moment, or end that with --clear.

    Calls set_user_override or clear_user_override. It replaces an exception that is there; what
    is not named is as the tier says.

    Exit codes: 0 done; 1 no such user; 2 bad input, such as an end in the past; 3 no API.

    Examples: flowstate users override ana@example.com --hour 200 --day unlimited --until
    2026-12-31T18:00:00Z --reason 'launch week'

    flowstate users override ana@example.com --clear
    """
    limits: dict[str, int | None] = dict(parse_windows(hour, day, month))
    if weight is not None:
        limits["weight"] = weight
    if max_running is not None:
        limits["max_running"] = max_running
    if clear and (limits or until):
        raise BadInputError("Nothing else can be set while clearing.", field="--clear")
    function = "clear_user_override" if clear else "set_user_override"
    arguments: Row = {"reason": reason or None} if clear else _exception(limits, until, reason)
    with open_api() as api:
        found = api.rpc(function, {"user_id": api.user_id(user, "user"), **arguments})
    answer(found, as_json)


def _exception(limits: dict[str, int | None], until: str, reason: str) -> Row:
    if not limits:
        raise BadInputError(
            "No limit is named.",
            field="--hour, --day, --month, --weight, --max-running",
            hint="Name at least one, or end an exception with --clear.",
        )
    if not until:
        raise BadInputError(
            "An exception needs an end.",
            field="--until",
            hint="Such as 2026-12-31T18:00:00Z. For ever is a tier: flowstate tiers set --create",
        )
    if not reason:
        raise BadInputError("An exception needs a reason.", field="--reason")
    return {"limits": limits, "ends_at": parse_moment(until, "--until"), "reason": reason}
