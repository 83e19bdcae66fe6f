"""`flowstate tokens`: users' Google tokens, and the keys that they are sealed with.

A file for each kind of command: status, rotation, connections, new_key.
"""

from __future__ import annotations

import typer

from flowstate_cli.commands.tokens.connections import connect, disconnect
from flowstate_cli.commands.tokens.new_key import new_key
from flowstate_cli.commands.tokens.rotation import rotate_keys
from flowstate_cli.commands.tokens.status import status

app = typer.Typer(
    name="tokens", no_args_is_help=True, help="Users' Google tokens, and the keys that seal them."
)
app.command("status")(status)
app.command("connect")(connect)
app.command("disconnect")(disconnect)
app.command("new-key")(new_key)
app.command("rotate-keys")(rotate_keys)
