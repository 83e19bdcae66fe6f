"""`flowstate users`: people, what they may use, and the end of it.

arguments (shared options and answers) ← listing, creation, changes, overriding, sign_ins,
exporting, deletion: a file for each kind of command.
"""

from __future__ import annotations

import typer

from flowstate_cli.commands.users.changes import resume, set_role, set_tier, suspend
from flowstate_cli.commands.users.creation import create
from flowstate_cli.commands.users.deletion import delete
from flowstate_cli.commands.users.exporting import export
from flowstate_cli.commands.users.listing import list_users, show
from flowstate_cli.commands.users.overriding import override
from flowstate_cli.commands.users.sign_ins import sessions

app = typer.Typer(
    name="users", no_args_is_help=True, help="People: tiers, roles, exceptions, export, deletion."
)
app.command("list")(list_users)
app.command("show")(show)
app.command("create")(create)
app.command("set-tier")(set_tier)
app.command("set-role")(set_role)
app.command("override")(override)
app.command("suspend")(suspend)
app.command("resume")(resume)
app.command("sessions")(sessions)
app.command("export")(export)
app.command("delete")(delete)
