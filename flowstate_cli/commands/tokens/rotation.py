"""`flowstate tokens rotate-keys`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from flowstate_cli.api import Api, open_api
from flowstate_cli.errors import EXIT_FAILED, EXIT_OK, RefusedError
from flowstate_cli.google_tokens import KEYS, Rotation, key_ring, reseal
from flowstate_cli.output import JsonFlag, emit_fields, emit_json, say


def rotate_keys(
    batch: Annotated[
        int, typer.Option("--batch", min=1, max=1000, help="Tokens in one call.")
    ] = 200,
    as_json: JsonFlag = False,
) -> None:
    """Put all tokens under the key that seals now, and say which older keys may go.

    Before: give every worker the new key in FLOWSTATE_TOKEN_KEYS beside the older ones, then name
    it in FLOWSTATE_TOKEN_KEY_ID and restart them. Older keys open until this is done. It may be
    interrupted and begun again: what is done stays done. A token that a worker refreshes meanwhile
    is left to it.

    Reads and writes the sealed tokens, in batches.

    Exit codes: 0 all are under this key; 1 some are not; 2 a setting is wrong; 3 no API or no key.

    Example: flowstate tokens rotate-keys
    """
    with open_api() as api:
        ring = key_ring(api)
        with _progress(_others(api, ring.key_id)) as told:
            rotation = reseal(api, ring, batch, told)
        left = _counted(api)
    under_it = left.pop(ring.key_id, 0)
    removable = [key_id for key_id in ring.ids if key_id != ring.key_id and key_id not in left]
    if as_json:
        emit_json(
            {
                "key_id": ring.key_id,
                "resealed": rotation.resealed,
                "tokens": under_it,
                "left": left,
                "unreadable": rotation.unreadable,
                "removable": removable,
            }
        )
        raise typer.Exit(EXIT_FAILED if left else EXIT_OK)
    emit_fields({"key": ring.key_id, "resealed": rotation.resealed, "tokens under it": under_it})
    for key_id in removable:
        say(
            f"Nothing needs the key {escape(key_id)} any more: remove it from {KEYS} once "
            f"every worker runs with FLOWSTATE_TOKEN_KEY_ID={escape(ring.key_id)}."
        )
    if left:
        raise RefusedError(_why_left(left, rotation), field=KEYS, hint=_what_to_do(rotation))


def _counted(api: Api) -> dict[str, int]:
    found = api.rpc("get_google_token_status")
    return {key["key_id"]: key["tokens"] for key in found["keys"]}


def _others(api: Api, key_id: str) -> int:
    return sum(tokens for other, tokens in _counted(api).items() if other != key_id)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[Rotation], None]]:
    """A bar on a terminal, else a line for every tenth; on stderr."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if console.is_terminal:
        with Progress(console=console, transient=True) as bar:
            task = bar.add_task("resealing", total=total)
            yield lambda rotation: bar.update(task, completed=rotation.resealed)
        return
    shown = 0

    def line(rotation: Rotation) -> None:
        nonlocal shown
        tenth = rotation.resealed * 10 // max(total, 1)
        if tenth > shown:
            shown = tenth
            say(f"resealed {rotation.resealed} of {total}")

    yield line


def _why_left(left: dict[str, int], rotation: Rotation) -> str:
    keys = ", ".join(f"{tokens} under {key_id}" for key_id, tokens in left.items())
    why = ", ".join(f"{n} {reason}" for reason, n in rotation.unreadable.items())
    return f"Tokens are left with other keys: {keys}" + (f" ({why})." if why else ".")


def _what_to_do(rotation: Rotation) -> str:
    if rotation.unreadable:
        return (
            f"Add the missing keys to {KEYS} and run this again. What no key opens is lost: "
            "disconnect those users, who then connect again."
        )
    return (
        "A worker seals with an older key: set FLOWSTATE_TOKEN_KEY_ID everywhere, run this again."
    )
