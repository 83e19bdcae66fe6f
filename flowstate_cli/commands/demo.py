"""`flowstate demo`: the whole product on this machine."""

from __future__ import annotations

import importlib

from flowstate_cli.errors import NotReachableError
from flowstate_cli.output import JsonFlag, emit_json


def demo(as_json: JsonFlag = False) -> None:
    """Run sample users' flows through a local stack and a worker, and show what happens.

    Starts a stack of its own and removes it at the end.

    Exit codes: 0 it ran; 1 something in it failed; 3 a part is missing.

    Example: flowstate demo
    """
    try:
        module = importlib.import_module("flowstate_cli.demo")
    except ModuleNotFoundError as error:
        if error.name != "flowstate_cli.demo":
            raise
        raise NotReachableError(
            "This version has no demo yet.",
            hint="Try it by hand: flowstate up, flowstate worker run, flowstate enqueue",
        ) from error
    result = module.run(quiet=as_json)
    if as_json:
        emit_json(result)
