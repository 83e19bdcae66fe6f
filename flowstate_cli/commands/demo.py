"""`flowstate demo`: the whole product on this machine."""

from __future__ import annotations

from flowstate_cli.output import JsonFlag, emit_json


def demo(as_json: JsonFlag = False) -> None:
    """Run 1,000 flows of 300 users through a worker while faults strike, and say what came of it.

    Starts a stack of its own and removes it at the end; beside `flowstate up` and other demos
    nothing collides. Reads DEMO_FLOWS (1 to 100000) and DEMO_USERS (1 to 10000), which change the
    size. Writes .flowstate/demo.json, and the logs to .flowstate/demo-logs when it fails.

    Exit codes: 0 nothing was lost and nothing done twice; 1 something was, or a part failed; 2 a
    size that makes no sense; 3 a part is missing.

    Example: DEMO_FLOWS=200 DEMO_USERS=60 flowstate demo
    """
    from flowstate_cli.demo import run

    result = run(quiet=as_json)
    if as_json:
        emit_json(result)
