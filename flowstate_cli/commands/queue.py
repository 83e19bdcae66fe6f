"""`flowstate queue`: how it is doing, what is in it, and cancelling."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.markup import escape

from flowstate_cli.api import Row, open_api
from flowstate_cli.errors import BadInputError
from flowstate_cli.inputs import parse_uuid
from flowstate_cli.output import (
    JsonFlag,
    YesFlag,
    confirm,
    emit_fields,
    emit_json,
    emit_table,
    say,
)

app = typer.Typer(name="queue", no_args_is_help=True, help="Watch the queue; cancel executions.")

_LIVE = ("scheduled", "available", "running")
_PAST = ("succeeded", "failed", "dead", "cancelled")
ExecutionArgument = Annotated[
    str, typer.Argument(help="An execution's id.", show_default=False, metavar="EXECUTION")
]


@app.command("status")
def status(as_json: JsonFlag = False) -> None:
    """Show the queue at a glance: states, tiers, instances, workers.

    Reads get_queue_status. Exit codes: 0 shown; 3 no API.

    Example: flowstate queue status
    """
    with open_api() as api:
        found: dict[str, Any] = api.rpc("get_queue_status")
    if as_json:
        emit_json(found)
        return
    states = found["states"]
    emit_fields(
        {
            **{state: states.get(state, 0) for state in (*_LIVE[:2], "waiting", "running")},
            "in flight": found["in_flight"],
            "oldest available": _seconds(found["oldest_available_seconds"]),
            "due, not yet promoted": found["due_scheduled"],
            "dead letters": found.get("dead_letters"),
            "paused": "yes" if found["paused"] else "no",
        }
    )
    if found["tiers"]:
        names = (*_LIVE[:2], "waiting", "running")
        emit_table(
            ("tier", *names),
            [(tier, *(counts.get(n, 0) for n in names)) for tier, counts in found["tiers"].items()],
            title="\nTiers",
        )
    emit_table(
        ("instance", "owner", "state", "breaker", "in flight"),
        [
            (
                row["name"],
                row["owner"],
                row["state"],
                row["breaker_state"],
                f"{row['in_flight']} of {row['max_in_flight']}",
            )
            for row in found["instances"]
        ],
        title="\nInstances",
    )
    emit_table(
        ("worker", "version", "in flight", "last heartbeat"),
        [
            (row["id"], row.get("version"), row.get("in_flight"), row.get("last_heartbeat_at"))
            for row in found["processors"]
        ],
        title="\nWorkers",
    )
    if not found["processors"]:
        say("No worker is alive. Start one: flowstate worker run")


@app.command("list")
def list_executions(
    state: Annotated[
        str,
        typer.Option(
            "--state",
            help=f"One of {', '.join((*_LIVE, *_PAST))}; without it: those not ended yet.",
            show_default=False,
        ),
    ] = "",
    user: Annotated[
        str, typer.Option("--user", help="A user's id or e-mail address.", show_default=False)
    ] = "",
    flow: Annotated[
        str, typer.Option("--flow", help="A flow's id or name.", show_default=False)
    ] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most so many.")] = 50,
    as_json: JsonFlag = False,
) -> None:
    """List executions, the latest queued first.

    Reads the view flow_executions, which holds live and past ones.

    Exit codes: 0 listed, even when there are none; 1 no such user or flow; 2 bad input; 3 no API.

    Example: flowstate queue list --state dead --user ana@example.com
    """
    if state and state not in (*_LIVE, *_PAST):
        raise BadInputError(
            f"{state[:60]!r} is no state.",
            field="--state",
            hint=f"States are {', '.join((*_LIVE, *_PAST))}.",
        )
    with open_api() as api:
        query = api.table("flow_executions").select("*").order("queued_at", desc=True).limit(limit)
        query = query.eq("state", state) if state else query.in_("state", list(_LIVE))
        user_id = api.user_id(user) if user else None
        if user_id:
            query = query.eq("user_id", user_id)
        if flow:
            query = query.eq("flow_id", api.flow(flow, user_id, "--flow")["id"])
        rows = api.rows(query)
    if as_json:
        emit_json(rows)
        return
    emit_table(
        ("execution", "flow", "state", "attempt", "queued", "error"),
        [
            (
                row["execution_id"],
                row["flow_name"],
                row["state"],
                row["attempt"],
                row["queued_at"][:19],
                _error(row["error"]),
            )
            for row in rows
        ],
    )


@app.command("show")
def show(execution: ExecutionArgument, as_json: JsonFlag = False) -> None:
    """Show one execution: state, attempts, place in the queue, result or error.

    Reads get_flow_execution_status. Exit codes: 0 shown; 1 no such execution; 2 no UUID; 3 no API.

    Example: flowstate queue show 01939e5e-3a0f-7c3e-9d5e-8f1f5a2c7b10
    """
    arguments = {"execution_id": parse_uuid(execution, "execution")}
    with open_api() as api:
        found: Row = api.rpc("get_flow_execution_status", arguments)
    if as_json:
        emit_json(found)
        return
    emit_fields({name: value for name, value in found.items() if value is not None})
    if found["state"] in {"failed", "dead"}:
        say(f"All attempts: flowstate logs --execution {escape(execution)}")


@app.command("cancel")
def cancel(
    execution: ExecutionArgument,
    yes: YesFlag = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it is doing.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Cancel an execution: at once while it is queued; a running one is told to stop.

    Writes the queue. What a running one has done already stays done, and its late answer is
    recorded and not applied.

    Exit codes: 0 cancelled, being cancelled, or ended before; 1 no such execution; 2 no UUID, or
    nobody to ask and no --yes; 3 no API.

    Example: flowstate queue cancel 01939e5e-3a0f-7c3e-9d5e-8f1f5a2c7b10 --yes
    """
    arguments = {"execution_id": parse_uuid(execution, "execution")}
    with open_api() as api:
        if not yes or dry_run:
            found: Row = api.rpc("get_flow_execution_status", arguments)
            if dry_run:
                _answer({"execution_id": found["execution_id"], "state": found["state"]}, as_json)
                return
            confirm(f"Cancel this {found['state']} execution?", yes=yes, as_json=as_json)
        _answer(api.rpc("cancel_flow_execution", arguments), as_json)


def _answer(found: Row, as_json: bool) -> None:
    if as_json:
        emit_json(found)
    else:
        emit_fields(found)


def _seconds(value: int | None) -> str | None:
    return None if value is None else f"{value} s"


def _error(error: dict[str, Any] | None) -> str | None:
    if not error:
        return None
    parts = (error.get("category"), error.get("step"), error.get("message"))
    return ": ".join(str(part) for part in parts if part)[:100]
