"""`flowstate audit`: the trail of who did what to what, and whether it is as it was written."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from flowstate_cli.activity import verify_chain
from flowstate_cli.api import Api, Row, open_api
from flowstate_cli.errors import BadInputError, RefusedError
from flowstate_cli.inputs import is_uuid, parse_moment
from flowstate_cli.output import JsonFlag, emit_fields, emit_json, say

app = typer.Typer(name="audit", no_args_is_help=True, help="Who did what; verify the trail.")

_COLUMNS = (
    "occurred_at, actor, actor_id, action, user_id, object_type, object_id, details, address, "
    "chain_position, erased_at, id"
)
_ACTION = re.compile(r"[a-z_]+\.([a-z_]+|\*)")
_ACTOR = re.compile(r"[A-Za-z0-9@._+ -]{1,200}")
_HEAD = re.compile(r"([1-9][0-9]{0,17}):([0-9a-f]{64})")


@app.command("log")
def log(
    *,
    user: Annotated[
        str,
        typer.Option(
            "--user",
            help="Whose account it is about: an id or an e-mail address.",
            show_default=False,
        ),
    ] = "",
    actor: Annotated[
        str,
        typer.Option(
            "--actor",
            help="Who did it: a person's id or e-mail address, or a name as it is shown.",
            show_default=False,
        ),
    ] = "",
    action: Annotated[
        str,
        typer.Option("--action", help="What: user.changed, or user.* for all.", show_default=False),
    ] = "",
    since: Annotated[
        str, typer.Option("--since", help="ISO 8601 time with an offset.", show_default=False)
    ] = "",
    until: Annotated[
        str, typer.Option("--until", help="ISO 8601 time with an offset.", show_default=False)
    ] = "",
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=1000, help="The latest so many.")
    ] = 50,
    as_json: JsonFlag = False,
) -> None:
    """Show the audit trail, oldest of the latest first: when, who, what, to what, from where.

    Reads user_activity_logs. An id as --user may be that of a user who is gone.

    Exit codes: 0 shown, even when there is nothing; 1 no such user; 2 bad input; 3 no API.

    Example: flowstate audit log --user ana@example.com --action 'user.*'
    """
    start = parse_moment(since, "--since") if since else None
    end = parse_moment(until, "--until") if until else None
    if start and end and start >= end:
        raise BadInputError("This is not after --since.", field="--until")
    if action and not _ACTION.fullmatch(action):
        raise BadInputError(
            f"{action[:60]!r} is no action.",
            field="--action",
            hint="Actions are two lower-case words with a dot: tier.changed, or tier.* for all.",
        )
    with open_api() as api:
        query = api.table("user_activity_logs").select(_COLUMNS)
        if user:
            query = query.eq("user_id", user.lower() if is_uuid(user) else api.user_id(user))
        if actor:
            query = query.or_(_actor_filter(api, actor))
        if action:
            query = query.like("action", action.replace("_", r"\_"))
        if start:
            query = query.gte("occurred_at", start)
        if end:
            query = query.lt("occurred_at", end)
        rows = api.rows(query.order("occurred_at", desc=True).limit(limit))[::-1]
    if as_json:
        emit_json(rows)
        return
    for row in rows:
        _print(row)


@app.command("verify")
def verify(
    expect: Annotated[
        list[str],
        typer.Option(
            "--expect",
            help="A head that an earlier verification showed, POSITION:HASH; several are allowed.",
            show_default=False,
        ),
    ] = [],  # noqa: B006 - Typer copies it
    as_json: JsonFlag = False,
) -> None:
    """Verify the audit trail: every row unchanged, none missing, none put in between.

    Calls verify_activity until all of the chain is checked; it also chains rows that wait for it.
    Prints the head. Note it where the database's administrators cannot write, and give it to
    --expect later: only that shows a chain that was made anew, or whose end was cut off.

    Exit codes: 0 intact; 1 broken, or not the chain that was expected; 2 bad input; 3 no API.

    Example: flowstate audit verify --expect 1042:5f1c…
    """
    heads = [_parse_head(text) for text in expect]
    with open_api() as api:
        found = verify_chain(api, heads)
    if as_json:
        emit_json(found)
    else:
        emit_fields(
            {
                "rows checked": found["checked"],
                "erased": found["erased"],
                "waiting": found["unchained"],
                "head": f"{found['last_position']}:{found['last_hash']}",
            }
        )
    problems = [*([found["broken"]] if found["broken"] else []), *found["unexpected"]]
    if not problems:
        say("The trail is intact.")
        return
    lines = [f"Position {problem['position']}: {problem['problem']}." for problem in problems]
    if as_json:
        say("\n".join(lines))
        raise typer.Exit(RefusedError.exit_code)
    raise RefusedError(
        f"The trail is not as it was written. {lines[0]}", hint="\n  ".join(lines[1:])
    )


def _actor_filter(api: Api, actor: str) -> str:
    """Whoever it may name: a person, a role, or a name that a service gave."""
    if not _ACTOR.fullmatch(actor):
        raise BadInputError(
            f"{actor[:60]!r} is no actor.",
            field="--actor",
            hint="It is a person's id or e-mail address, or a name as `audit log` shows it.",
        )
    if is_uuid(actor):
        return f"actor_id.eq.{actor.lower()}"
    names = [f'actor.eq."{actor}"', f'actor.eq."service {actor}"']
    if "@" in actor:
        people = api.rpc("list_users", {"search": actor, "max": 1})
        names += [f"actor_id.eq.{person['user_id']}" for person in people]
    return ",".join(names)


def _parse_head(text: str) -> tuple[int, str]:
    match = _HEAD.fullmatch(text)
    if match is None:
        raise BadInputError(
            f"{text[:90]!r} is no head of the trail.",
            field="--expect",
            hint="It is the position, a colon and 64 hexadecimal digits, as `audit verify` shows "
            "it under head.",
        )
    return int(match[1]), match[2]


def _print(row: Row) -> None:
    place = " ".join(str(part) for part in (row["object_type"], row["object_id"]) if part)
    parts = [
        row["occurred_at"][:19],
        f"{row['actor']} {row['actor_id'] or ''}".strip(),
        f"[bold]{row['action']}[/bold]",
        escape(place),
        f"of {row['user_id']}" if row["user_id"] not in {None, row["object_id"]} else "",
        "(erased)" if row["erased_at"] else escape(_told(row)),
        f"from {row['address']}" if row["address"] else "",
    ]
    console = Console(highlight=False, soft_wrap=True)
    console.print("  ".join(part for part in parts if part))


def _told(row: Row) -> str:
    """`tier: free → pro`, or what a new one is like, or which fields changed; and the reason."""
    details: dict[str, Any] = row["details"]
    before, after = details.get("before") or {}, details.get("after") or {}
    if row["action"].endswith(".created"):
        known = (row["object_id"], row["user_id"])
        changes = [f"{k}: {v}" for k, v in after.items() if k != "created_at" and v not in known]
    else:
        names = sorted({*before, *after})
        changes = [f"{name}: {before.get(name, '-')} → {after.get(name, '-')}" for name in names]
        changes += [
            f"{name}: {', '.join(map(str, value)) if isinstance(value, list) else value}"
            for name, value in details.items()
            if name not in {"before", "after", "reason"}
        ]
    reason = f" ({details['reason']})" if details.get("reason") else ""
    return (", ".join(changes) + reason).strip()
