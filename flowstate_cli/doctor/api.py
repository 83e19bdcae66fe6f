"""The API: does it answer, does the key open it, does the queue move."""

from __future__ import annotations

from typing import Any

from flowstate_cli.api import Api
from flowstate_cli.doctor.finding import Finding, fail, ok, warn
from flowstate_cli.errors import CliError

_STUCK_SECONDS = 300


def examine_api(api: Api) -> tuple[list[Finding], bool]:
    """The findings, and whether the API can be used for further ones."""
    try:
        status = api.rpc("get_queue_status")
    except CliError as error:
        return [fail("api", error.message, error.hint)], False
    return [ok("api", f"{api.url} answers, and the key is the service role's"), *_queue(status)], (
        True
    )


def _queue(status: dict[str, Any]) -> list[Finding]:
    found: list[Finding] = []
    workers = status["processors"]
    waiting = sum(status["states"].get(state, 0) for state in ("available", "running"))
    if workers:
        found.append(ok("workers", f"{len(workers)} alive"))
    else:
        advice = "Start one: flowstate worker run"
        found.append(warn("workers", f"none is alive; {waiting} executions wait for one", advice))
    oldest = status["oldest_available_seconds"]
    if status["paused"]:
        advice = "Resume: set load_balancer_config.paused_at to null"
        found.append(warn("queue", "it is paused: nothing is claimed", advice))
    elif oldest is not None and oldest > _STUCK_SECONDS:
        advice = "See `flowstate queue status`: are workers alive, breakers closed, slots free?"
        found.append(warn("queue", f"the oldest due execution waits {oldest} s", advice))
    else:
        found.append(ok("queue", f"{waiting} due or running, {status['in_flight']} in flight"))
    dead = status.get("dead_letters") or 0
    if dead:
        advice = "Look at them: flowstate queue list --state dead"
        found.append(warn("dead letters", f"{dead} neither replayed nor discarded", advice))
    return found
