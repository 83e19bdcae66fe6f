"""`flowstate tokens status`."""

from __future__ import annotations

from typing import Any

from rich.markup import escape

from flowstate_cli.api import open_api
from flowstate_cli.google_tokens import KEYS, key_ring_or_none
from flowstate_cli.output import JsonFlag, emit_fields, emit_json, emit_table, say


def status(as_json: JsonFlag = False) -> None:
    """Show how many users are connected, in which state, and which keys their tokens need.

    Reads get_google_token_status, which counts and tells no content, and the key ids of
    FLOWSTATE_TOKEN_KEYS or Vault.

    Exit codes: 0 shown; 2 a setting is wrong; 3 no API.

    Example: flowstate tokens status
    """
    with open_api() as api:
        found: dict[str, Any] = api.rpc("get_google_token_status")
        ring = key_ring_or_none(api)
    held = ring.ids if ring else ()
    counted = {key["key_id"]: key["tokens"] for key in found["keys"]}
    keys = [
        {
            "key_id": key_id,
            "tokens": counted.get(key_id, 0),
            "held": key_id in held,
            "seals": ring is not None and key_id == ring.key_id,
        }
        for key_id in sorted({*counted, *held})
    ]
    if as_json:
        emit_json({**found, "keys": keys})
        return
    emit_fields(
        {
            "connections": found["total"],
            **found["statuses"],
            "being refreshed": found["refreshing"],
            "Vault": "yes" if found["vault"] else "no",
        }
    )
    if found["reasons"]:
        emit_table(("reason", "connections"), found["reasons"].items(), title="\nNot active")
    emit_table(
        ("key", "tokens", "here", "seals"),
        [
            (key["key_id"], key["tokens"], *("yes" if key[n] else "no" for n in ("held", "seals")))
            for key in keys
        ],
        title="\nKeys",
    )
    missing = [key["key_id"] for key in keys if not key["held"] and key["tokens"]]
    if missing:
        say(f"Not in {KEYS} here, and needed: {escape(', '.join(map(str, missing)))}")
