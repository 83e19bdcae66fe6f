"""`flowstate enqueue`: one run of a flow, several, or a file full of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from enum import StrEnum
from itertools import islice, repeat
from typing import Annotated, Any

import typer

from flowstate_cli.api import Api, Row, open_api
from flowstate_cli.errors import BadInputError, CliError, RefusedError
from flowstate_cli.inputs import parse_moment, parse_object, parse_uuid, read_lines
from flowstate_cli.output import JsonFlag, emit_json, emit_table, say

_BATCH = 1000
_FIELDS = {"flow_id", "input", "idempotency_key", "run_at", "priority", "on_limit"}
_REASONS = {
    "unknown_flow": "no such flow",
    "flow_disabled": "flow disabled",
    "suspended": "user suspended",
}
_ITEM = re.compile(r"^items\[(\d+)\]: ")


class OnLimit(StrEnum):
    """What happens to an execution beyond the user's limit."""

    REFUSE = "refuse"
    DEFER = "defer"


def enqueue(
    flow: Annotated[
        str,
        typer.Argument(
            help="A flow's id or name. With --file: for lines that name none.", show_default=False
        ),
    ] = "",
    *,
    input_: Annotated[
        str,
        typer.Option("--input", help="A JSON object, or @file.", show_default=False),
    ] = "{}",
    key: Annotated[
        str,
        typer.Option(
            "--key",
            help="Idempotency key: within a day the same key gives the same execution.",
            show_default=False,
        ),
    ] = "",
    at: Annotated[
        str,
        typer.Option(
            "--at", help="Not before this time: ISO 8601 with an offset.", show_default=False
        ),
    ] = "",
    priority: Annotated[
        int,
        typer.Option(
            "--priority", min=-100, max=100, help="Order among the user's own; higher first."
        ),
    ] = 0,
    on_limit: Annotated[
        OnLimit,
        typer.Option("--on-limit", help="Beyond the user's limit: refuse it, or run it later."),
    ] = OnLimit.REFUSE,
    count: Annotated[
        int, typer.Option("--count", min=1, max=100_000, help="So many executions.")
    ] = 1,
    file: Annotated[
        str,
        typer.Option(
            "--file",
            help="JSON Lines, an execution a line: flow_id, input, idempotency_key, run_at, "
            "priority, on_limit. `-` reads stdin.",
            show_default=False,
        ),
    ] = "",
    user: Annotated[
        str,
        typer.Option(
            "--user", help="Whose flow, where only its name is given.", show_default=False
        ),
    ] = "",
    as_json: JsonFlag = False,
) -> None:
    """Queue a run of a flow on behalf of its owner, within the owner's limits.

    Reads flows, and the file. Writes the queue, in batches of 1,000: a batch with a malformed
    item queues nothing of itself. Repeat a file safely by giving its lines idempotency keys.

    Exit codes: 0 all accepted; 1 some refused (a limit, no such flow); 2 bad input; 3 no API.

    Examples: flowstate enqueue invoices --input '{"sheet": "1AbC"}' --on-limit defer

    flowstate enqueue --file runs.jsonl --json
    """
    if not flow and not file:
        raise BadInputError(
            "Nothing to queue.",
            field="flow",
            hint="Name a flow (flowstate flows list), or a file with --file.",
        )
    if count > 1 and (key or file):
        raise BadInputError(
            "One key stands for one execution." if key else "The file says how many there are.",
            field="--count",
            hint="Leave out --count.",
        )
    common: Row = {"priority": priority, "on_limit": on_limit.value}
    if at:
        common["run_at"] = parse_moment(at, "--at")
    if key:
        common["idempotency_key"] = key
    common["input"] = parse_object(input_, "--input")
    with open_api() as api:
        if flow:
            common["flow_id"] = api.flow(flow, api.user_id(user) if user else None)["id"]
        items: Iterable[tuple[int, Row]]
        items = _from_file(file, common) if file else enumerate(repeat(common, count), start=1)
        results = _send(api, iter(items), common)
    _report(results, as_json)


def _from_file(path: str, common: Row) -> Iterator[tuple[int, Row]]:
    for number, line in read_lines(path, "--file"):
        where = f"--file, line {number}"
        unknown = sorted(line.keys() - _FIELDS)
        if unknown:
            raise BadInputError(
                f"{unknown[0]!r} is no field of an execution.",
                field=where,
                hint=f"The fields are {', '.join(sorted(_FIELDS))}.",
            )
        item = {**common, **line}
        if "flow_id" not in item:
            raise BadInputError(
                "It names no flow.", field=where, hint="Add flow_id, or give a flow as argument."
            )
        item["flow_id"] = parse_uuid(str(item["flow_id"]), f"{where}, flow_id")
        if isinstance(line.get("run_at"), str):
            item["run_at"] = parse_moment(line["run_at"], f"{where}, run_at")
        yield number, item


def _send(api: Api, items: Iterator[tuple[int, Row]], common: Row) -> list[Row]:
    results: list[Row] = []
    while batch := list(islice(items, _BATCH)):
        try:
            answers = api.rpc("enqueue_flow_executions", {"items": [item for _, item in batch]})
        except CliError as error:
            if match := _ITEM.match(error.message):
                number, item = batch[int(match[1])]
                where = "" if item is common else f"Line {number}: "
                error.message = where + error.message[match.end() :]
            if results:
                error.hint = f"{error.hint}\n  {len(results)} before it were sent.".strip()
            raise
        ordered = sorted(answers, key=lambda answer: int(answer["item"]))
        results.extend(
            {**answer, "item": number} for (number, _), answer in zip(batch, ordered, strict=True)
        )
    return results


def _report(results: list[Row], as_json: bool) -> None:
    refused = [row for row in results if row["refused"]]
    duplicates = [row for row in results if row["duplicate"]]
    summary: dict[str, Any] = {
        "accepted": len(results) - len(refused) - len(duplicates),
        "duplicates": len(duplicates),
        "refused": len(refused),
    }
    if as_json:
        emit_json({**summary, "items": results})
    elif len(results) <= 20:
        emit_table(
            ("execution", "state", "not before"),
            [
                (
                    row["execution_id"],
                    _reason(row) if row["refused"] else row["state"],
                    row["run_at"],
                )
                for row in results
            ],
        )
    if len(results) > 1:
        say(", ".join(f"{number} {name}" for name, number in summary.items()))
    if not refused:
        return
    reasons = Counter(map(_reason, refused))
    waits = [row["retry_after_seconds"] for row in refused if row["retry_after_seconds"]]
    message = "Refused: " + "; ".join(f"{reason}: {n}" for reason, n in reasons.items()) + "."
    hint = (
        f"Room again in {min(waits)} s; with --on-limit defer it is scheduled for then."
        if waits
        else "See: flowstate flows list"
    )
    if as_json:
        say(f"{message} {hint}")
        raise typer.Exit(RefusedError.exit_code)
    raise RefusedError(message, hint=hint)


def _reason(row: Row) -> str:
    """Why an item was refused, in words."""
    name = str(row["refused"])
    if name.endswith("_limit"):
        return f"{name.replace('_', ' ')} of {row['limit_count']} reached"
    return _REASONS.get(name, name)
