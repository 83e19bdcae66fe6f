"""Walks the chain of the audit trail through verify_activity(), stretch by stretch."""

from __future__ import annotations

from collections.abc import Sequence

from flowstate_cli.api import Api, Row

_STRETCH = 5000


def verify_chain(api: Api, heads: Sequence[tuple[int, str]] = ()) -> Row:
    """What verify_activity() says of the whole chain, and which of `heads` are not in it.

    `heads` are positions with the hashes that they had. A hash stands for everything before it,
    so one that is still there proves that much of the chain to be the same.
    """
    checked = erased = 0
    after: int | None = None
    while True:
        found: Row = api.rpc("verify_activity", {"after_position": after, "max": _STRETCH})
        checked += found["checked"]
        erased += found["erased"]
        after = found["last_position"]
        if found["done"]:
            break
    unexpected = [
        {"position": position, "problem": problem}
        for position, hash_ in heads
        if (problem := _difference(api, found, position, hash_))
    ]
    return {
        **found,
        "ok": found["ok"] and not unexpected,
        "checked": checked,
        "erased": erased,
        "unexpected": unexpected,
    }


def _difference(api: Api, found: Row, position: int, hash_: str) -> str:
    if position > found["last_position"] and not found["broken"]:
        return f"it was the head, and the chain ends at {found['last_position']} now"
    query = api.table("user_activity_logs").select("hash").eq("chain_position", position).limit(1)
    rows = api.rows(query)
    if not rows:
        return "it is no longer kept, so it cannot be compared; note the head of today instead"
    return "" if rows[0]["hash"] == f"\\x{hash_}" else "its hash is not the one that was expected"
