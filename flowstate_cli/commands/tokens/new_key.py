"""`flowstate tokens new-key`."""

from __future__ import annotations

import json
import secrets
from datetime import UTC, datetime
from typing import Annotated

import typer

from flowstate_cli.errors import BadInputError
from flowstate_cli.google_tokens import KEYS
from flowstate_cli.output import JsonFlag, emit_json, emit_text, say


def new_key(
    key_id: Annotated[
        str,
        typer.Option("--id", help="Its id; without one: today's date and chance.", metavar="ID"),
    ] = "",
    as_json: JsonFlag = False,
) -> None:
    """Make a key for sealing tokens, and show it once.

    Reads and writes nothing: the key exists only where you put it. Who loses it loses the tokens
    that it seals; their users then have to connect again.

    Exit codes: 0 made; 2 the id cannot be one.

    Example: flowstate tokens new-key
    """
    from flowstate_worker.rules.sealing import is_key_id
    from flowstate_worker.rules.sealing import new_key as make

    name = key_id or f"k{datetime.now(UTC):%Y%m%d}-{secrets.token_hex(2)}"
    if not is_key_id(name):
        raise BadInputError("A key id has 1 to 40 letters, digits, _ or -.", field="--id")
    key = make()
    if as_json:
        emit_json({"key_id": name, "key": key})
        return
    emit_text(f"{KEYS}='{json.dumps({name: key})}'\nFLOWSTATE_TOKEN_KEY_ID={name}")
    say(f"Beside older keys: add the entry to {KEYS} everywhere first, name it in")
    say("FLOWSTATE_TOKEN_KEY_ID then, and run `flowstate tokens rotate-keys`.")
