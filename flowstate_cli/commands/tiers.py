"""`flowstate tiers`: what users of each tier may use."""

from __future__ import annotations

from typing import Annotated

import typer

from flowstate_cli.api import Api, Row, open_api
from flowstate_cli.errors import BadInputError, RefusedError
from flowstate_cli.limits import (
    COLUMNS,
    DayOption,
    HourOption,
    MaxRunningOption,
    MonthOption,
    WeightOption,
    parse_megabytes,
    parse_windows,
    shown,
    title,
)
from flowstate_cli.output import JsonFlag, YesFlag, confirm, emit_json, emit_table, say

app = typer.Typer(name="tiers", no_args_is_help=True, help="Tiers: limits, weights, retention.")

TierArgument = Annotated[
    str, typer.Argument(help="The tier's name.", show_default=False, metavar="TIER")
]
ReasonOption = Annotated[
    str,
    typer.Option("--reason", help="Why; it is kept in the audit trail.", show_default=False),
]
DryRunFlag = Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")]


@app.command("list")
def list_tiers(as_json: JsonFlag = False) -> None:
    """List the tiers with their limits.

    Reads subscription_tiers. Exit codes: 0 listed; 3 no API.

    Example: flowstate tiers list
    """
    with open_api() as api:
        rows = api.rows(api.table("subscription_tiers").select("*").order("weight").order("tier"))
    if as_json:
        emit_json(rows)
        return
    emit_table(
        ("tier", *map(title, COLUMNS)),
        [(row["tier"], *(shown(column, row[column]) for column in COLUMNS)) for row in rows],
    )


@app.command("set")
def set_tier(
    tier: TierArgument,
    *,
    hour: HourOption = "",
    day: DayOption = "",
    month: MonthOption = "",
    weight: WeightOption = None,
    max_running: MaxRunningOption = None,
    retention_days: Annotated[
        int | None,
        typer.Option("--retention-days", help="Days that logs are kept.", show_default=False),
    ] = None,
    context_mb: Annotated[
        float | None,
        typer.Option("--context-mb", help="Context of a user, in MB.", show_default=False),
    ] = None,
    create: Annotated[
        bool, typer.Option("--create", help="Make a new tier; what is not named is as for free.")
    ] = False,
    reason: ReasonOption = "",
    yes: YesFlag = False,
    dry_run: DryRunFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Change limits of a tier, or make one. It acts on the next call of every user of the tier.

    Calls set_tier. Shows what was and what is. A shorter --retention-days deletes logs, so it
    asks first.

    Exit codes: 0 set; 1 no such tier, or with --create: it exists; 2 bad input; 3 no API.

    Example: flowstate tiers set pro --hour 50 --day unlimited --reason 'new prices'
    """
    limits: dict[str, int | None] = dict(parse_windows(hour, day, month))
    others = {
        "weight": weight,
        "max_running": max_running,
        "log_retention_days": retention_days,
        "context_limit_bytes": parse_megabytes(context_mb, "--context-mb"),
    }
    limits |= {column: value for column, value in others.items() if value is not None}
    if not limits:
        raise BadInputError(
            "No limit is named.", field="--hour", hint="See: flowstate tiers set --help"
        )
    with open_api() as api:
        before = _find(api, tier)
        _check_existence(before, tier, create)
        if dry_run:
            _show(tier, before, {**(before or {}), **limits}, as_json)
            return
        if before and retention_days and retention_days < before["log_retention_days"]:
            question = f"Delete logs of {tier} that are older than {retention_days} days?"
            confirm(question, yes=yes, as_json=as_json)
        after = api.rpc("set_tier", {"tier": tier, "limits": limits, "reason": reason or None})
    _show(tier, before, after, as_json)


@app.command("remove")
def remove(
    tier: TierArgument,
    reason: ReasonOption = "",
    yes: YesFlag = False,
    dry_run: DryRunFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Remove a tier that no user has.

    Calls remove_tier, which refuses a tier in use, and the one that new users get.

    Exit codes: 0 removed; 1 no such tier, or it is in use; 2 nobody to ask and no --yes; 3 no API.

    Example: flowstate tiers remove trial --yes
    """
    with open_api() as api:
        before = _find(api, tier)
        _check_existence(before, tier, create=False)
        if not dry_run:
            confirm(f"Remove the tier {tier}?", yes=yes, as_json=as_json)
            api.rpc("remove_tier", {"tier": tier, "reason": reason or None})
    if as_json:
        emit_json({"tier": tier, "removed": not dry_run})
    else:
        say(f"The tier {tier} {'would be' if dry_run else 'is'} removed.")


def _find(api: Api, tier: str) -> Row | None:
    rows = api.rows(api.table("subscription_tiers").select("*").eq("tier", tier).limit(1))
    return rows[0] if rows else None


def _check_existence(found: Row | None, tier: str, create: bool) -> None:
    if found is None and not create:
        raise RefusedError(
            f"There is no tier {tier[:60]!r}.",
            field="tier",
            hint="See: flowstate tiers list. A new one is made with --create.",
        )
    if found is not None and create:
        raise RefusedError(
            f"There is a tier {tier!r} already.", field="tier", hint="Leave out --create."
        )


def _show(tier: str, before: Row | None, after: Row, as_json: bool) -> None:
    if as_json:
        emit_json({"tier": tier, "before": before, "after": after})
        return
    columns = [column for column in COLUMNS if column in after]
    emit_table(
        (tier, "before", "after"),
        [
            (
                title(column),
                shown(column, before[column]) if before else None,
                shown(column, after[column]),
            )
            for column in columns
            if before is None or before[column] != after[column]
        ],
    )
