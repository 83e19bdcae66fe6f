"""The composition of the command line: groups, commands, and how failures end the process."""

from __future__ import annotations

import sys
from typing import Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from flowstate_cli.commands import (
    audit,
    db,
    flows,
    instances,
    policies,
    queue,
    tiers,
    tokens,
    users,
    worker,
)
from flowstate_cli.commands.demo import demo
from flowstate_cli.commands.doctor import doctor
from flowstate_cli.commands.enqueue import enqueue
from flowstate_cli.commands.logs import logs
from flowstate_cli.commands.stack import down, reset, status, up
from flowstate_cli.commands.usage import usage
from flowstate_cli.errors import BadInputError, CliError
from flowstate_cli.output import emit_json, report


class RootGroup(TyperGroup):
    """Ends failed commands: with the message and exit code of a CliError, in JSON if asked for."""

    def invoke(self, ctx: Any) -> Any:
        as_json = "--json" in ctx.args
        try:
            return super().invoke(ctx)
        except CliError as error:
            report(error, as_json=as_json)
            raise typer.Exit(error.exit_code) from error
        except TyperException as error:  # a wrong option: Typer says so on stderr by itself
            message = getattr(error, "format_message", None)
            if as_json and message is not None:
                emit_json(BadInputError(message()).as_json())
            raise


app = typer.Typer(
    name="flowstate",
    cls=RootGroup,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Runs many users' flows through Apps Script instances, from a queue in Supabase.",
    epilog="Exit codes: 0 done, 1 failed or refused, 2 bad input, 3 not reachable or not set up.",
)
for command in (up, down, status, reset):
    app.command(rich_help_panel="Local stack")(command)
for group in (db.app, policies.app, worker.app, instances.app, tokens.app):
    app.add_typer(group, rich_help_panel="Operate")
app.command(rich_help_panel="Operate")(doctor)
app.command(rich_help_panel="Operate")(demo)
for group in (flows.app, queue.app):
    app.add_typer(group, rich_help_panel="Flows and executions")
app.command(rich_help_panel="Flows and executions")(enqueue)
app.command(rich_help_panel="Flows and executions")(logs)
for group in (users.app, tiers.app, audit.app):
    app.add_typer(group, rich_help_panel="People")
app.command(rich_help_panel="People")(usage)


def main() -> None:
    """The console script `flowstate`."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
