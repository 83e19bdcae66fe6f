"""`flowstate doctor`: is everything there that FlowState needs."""

from __future__ import annotations

import typer
from rich.console import Console
from rich.markup import escape

from flowstate_cli.doctor.finding import Level
from flowstate_cli.errors import RefusedError
from flowstate_cli.output import JsonFlag, emit_json
from flowstate_cli.settings import load_settings

_COLOURS = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "bold red"}


def doctor(as_json: JsonFlag = False) -> None:
    """Look for what is missing or wrong: each check says ok, warn or fail, and what to do.

    Reads the FLOWSTATE_ settings, or those of the local stack. Looks at the API and its key, the
    queue, migrations, roles, grants, row security, partitions, PostgREST's schema cache, clocks,
    and pings every instance with a signed GET. Writes nothing; runs no flow.

    Exit codes: 0 nothing failed (there may be warnings); 1 a check failed.

    Example: flowstate doctor --json
    """
    from flowstate_cli.doctor.examination import examine

    settings = load_settings()
    findings = examine(settings)
    failed = [finding for finding in findings if finding.level is Level.FAIL]
    if as_json:
        emit_json(
            {
                "ok": not failed,
                "settings": settings.origin,
                "checks": [vars(finding) for finding in findings],
            }
        )
    else:
        console = Console(highlight=False, soft_wrap=True)
        for finding in findings:
            colour = _COLOURS[finding.level]
            console.print(
                f"[{colour}]{finding.level:<4}[/]  {escape(f'{finding.check}: {finding.found}')}"
            )
            if finding.advice:
                console.print(f"      {escape(finding.advice)}")
    if failed:
        raise typer.Exit(RefusedError.exit_code)
