"""`flowstate up`, `down`, `status`, `reset`: the stack without Docker."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from flowstate_cli.api import Api
from flowstate_cli.errors import NotReachableError
from flowstate_cli.output import (
    JsonFlag,
    YesFlag,
    confirm,
    emit_fields,
    emit_json,
    emit_text,
    say,
)
from flowstate_cli.pool import register_pool
from flowstate_cli.project import find_project
from flowstate_cli.settings import Settings
from flowstate_cli.stack import FOLDER, explained, has_stack, local_stack, simulated_pool

if TYPE_CHECKING:
    from flowstate_local import LocalStack

Port = Annotated[int, typer.Option(min=0, max=65535, help="0: the one it had, or a free one.")]


def up(
    api_port: Port = 0,
    db_port: Port = 0,
    as_json: JsonFlag = False,
) -> None:
    """Start the local stack: Postgres, the API, Edge Functions, simulated Apps Script instances.

    Writes .flowstate/stack (keys are made new with it), applies the migrations, and registers the
    simulator's five instances. May be called again: it starts what does not run, and pushes what
    is new. Everything listens on this machine only.

    Exit codes: 0 it runs; 1 a part or a migration failed; 2 a port is taken; 3 a part is missing.

    Example: flowstate up --api-port 54321
    """
    project = find_project()
    stack = local_stack(project, api_port=api_port, db_port=db_port)
    _start(project, stack)
    _show(stack, as_json)


def down(
    delete: Annotated[
        bool, typer.Option("--delete", help="Remove its data, keys and logs as well.")
    ] = False,
    yes: YesFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Stop the local stack. Data and keys stay, unless --delete is given.

    Writes .flowstate/stack. Nothing to stop is no failure.

    Exit codes: 0 stopped; 2 --delete without anybody to ask and no --yes.

    Example: flowstate down --delete --yes
    """
    project = find_project()
    existed = has_stack(project)
    if existed:
        stack = local_stack(project)
        if delete:
            confirm(f"Delete {FOLDER}, with its database?", yes=yes, as_json=as_json)
        with explained():
            if delete:
                stack.destroy()
            else:
                stack.stop()
    if as_json:
        emit_json({"stopped": existed, "deleted": existed and delete})
    elif existed:
        say("Stopped and deleted." if delete else "Stopped. `flowstate up` starts it again.")
    else:
        say("There is no local stack here.")


def status(
    env: Annotated[
        bool, typer.Option("--env", help="Only the environment lines, to copy or to eval.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Show the local stack: what runs, addresses, keys, and the environment lines to copy.

    Reads .flowstate/stack. Writes nothing. The keys are those of this machine's stack only.

    Exit codes: 0 everything runs; 1 a part does not; 3 there is no stack here.

    Example: eval "$(flowstate status --env)"
    """
    project = find_project()
    if not has_stack(project):
        raise NotReachableError("There is no local stack here.", hint="Start one: flowstate up")
    stack = local_stack(project)
    if env:
        with explained():
            lines = [f"export {k}={shlex.quote(v)}" for k, v in stack.info.environment().items()]
        if as_json:
            emit_json(stack.info.environment())
        else:
            emit_text("\n".join(lines))
        return
    stopped = _show(stack, as_json)
    if stopped:
        say(f"Not running: {', '.join(stopped)}. Start: flowstate up")
        raise typer.Exit(1)


def reset(yes: YesFlag = False, as_json: JsonFlag = False) -> None:
    """Make the local stack anew: an empty database with all migrations, and new keys.

    Writes .flowstate/stack. Everything in the local database is lost; nothing else is touched.

    Exit codes: 0 it runs; 1 a part or a migration failed; 2 nobody to ask and no --yes; 3 a part
    is missing.

    Example: flowstate reset --yes
    """
    project = find_project()
    if has_stack(project):
        confirm("Delete the local database and make it anew?", yes=yes, as_json=as_json)
        with explained():
            local_stack(project).destroy()
    stack = local_stack(project)
    _start(project, stack)
    _show(stack, as_json)


def _start(project: Path, stack: LocalStack) -> None:
    with explained():
        say("Starting the stack.")
        stack.start()
        say("Applying the migrations.")
        stack.push_migrations(project)
        owners, instances = simulated_pool(stack)
        settings = Settings(stack.info.environment(), "the local stack")
    with Api(settings) as api:
        register_pool(api, owners, instances)


def _show(stack: LocalStack, as_json: bool) -> list[str]:
    """Prints what there is; returns the components that do not run."""
    with explained():
        info = stack.info
    running = {name: info.pids.get(name) for name in stack.components}
    environment = info.environment()
    if as_json:
        found: dict[str, Any] = {
            "components": running,
            "environment": environment,
            "logs": str(stack.directory / "logs"),
        }
        emit_json(found)
    else:
        emit_fields(
            {
                "API": info.api_url,
                "Database": info.db_url,
                "Functions": f"{info.api_url}/functions/v1",
                "Apps Script": f"{info.simulator_url} (simulated)",
                "Publishable key": info.publishable_key,
                "Secret key": info.secret_key,
                "Running": ", ".join(f"{n} ({pid})" for n, pid in running.items() if pid),
                "Logs": stack.directory / "logs",
            }
        )
        say('\nFor another shell (or: eval "$(flowstate status --env)"):')
        for name, value in environment.items():
            say(f"  export {name}={escape(shlex.quote(value))}")
    return [name for name, pid in running.items() if pid is None]
