"""`flowstate worker`: runs the worker in this process's place."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from flowstate_cli.output import JsonFlag, say
from flowstate_cli.settings import load_settings

app = typer.Typer(name="worker", no_args_is_help=True, help="Run the worker.")


@app.command("run")
def run(
    max_in_flight: Annotated[
        int | None,
        typer.Option(
            "--max-in-flight",
            min=1,
            max=5000,
            help="Calls at once; FLOWSTATE_MAX_IN_FLIGHT.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Run the worker until it is told to stop (Ctrl-C or SIGTERM drain it).

    Reads the FLOWSTATE_ settings, or those of the local stack. The worker takes this process's
    place, so signals and exit codes are its own. Its log goes to stderr; --json makes each line of
    it JSON.

    Exit codes: 0 drained; 2 a setting is refused; others as in the worker's documentation;
    3 no API is set.

    Example: flowstate worker run --max-in-flight 50
    """
    settings = load_settings()
    settings.api()
    environment = {**os.environ, **settings.values}
    if max_in_flight is not None:
        environment["FLOWSTATE_MAX_IN_FLIGHT"] = str(max_in_flight)
    if as_json:
        environment["FLOWSTATE_LOG_FORMAT"] = "json"
    say(f"Settings from {settings.origin}.")
    sys.stderr.flush()
    os.execve(  # noqa: S606 - no shell is wanted
        sys.executable, [sys.executable, "-m", "flowstate_worker"], environment
    )
