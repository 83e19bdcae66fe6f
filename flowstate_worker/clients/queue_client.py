"""The queue's RPCs, typed, and safe to be called again.

What may happen when an answer is lost, verb by verb:

- `finish` and `heartbeat` are fenced by the lease token: a repeated call is recognised
  ("already_done") or refused ("lease_lost"). Their loops repeat them.
- `register`, `rescue` and `maintain` do the same thing again.
- `claim` is the delicate one. It is never repeated as such: rows of a claim whose answer is lost
  are leased to this worker, which does not know their tokens. So heartbeats always name their
  leases (never "all of mine"), those leases end, and the rescue returns the rows within seconds,
  bound to the instance that nobody called. The cost is one lease of delay and one attempt.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from supabase import AsyncClient

from flowstate_worker.clients.api_errors import unreadable
from flowstate_worker.clients.database_clock import DatabaseClock
from flowstate_worker.clients.rpc import Rpc
from flowstate_worker.errors import ApiError
from flowstate_worker.rules.models import (
    ClaimedExecution,
    FinishAnswer,
    FinishItem,
    HeartbeatAnswer,
    LeaseProof,
)


@dataclass(frozen=True, slots=True)
class Claim:
    """What a claim brought: executions, and rows that cannot be read but can be given an end."""

    executions: list[ClaimedExecution] = field(default_factory=list)
    unreadable: list[LeaseProof] = field(default_factory=list)


class QueueClient:
    """One processor's view of the queue.

    Every method raises ApiError; `observe` is told each call's name and its error, if any.
    """

    def __init__(
        self,
        client: AsyncClient,
        processor_id: str,
        *,
        clock: DatabaseClock,
        timeout_seconds: float = 15.0,
        observe: Callable[[str, ApiError | None], None] = lambda _call, _error: None,
    ) -> None:
        self._rpc = Rpc(client, timeout_seconds=timeout_seconds, observe=observe)
        self._processor_id = processor_id
        self._clock = clock

    async def register(self, *, host: str, version: str, max_in_flight: int) -> None:
        name = "register_queue_processor"
        answer = await self._rpc.call(
            name,
            {
                "processor_id": self._processor_id,
                "host": host,
                "version": version,
                "max_in_flight": max_in_flight,
            },
        )
        if answer:
            raise unreadable(name, "content where none is due")

    async def claim(self, most: int, *, lease_seconds: int) -> Claim:
        """Lease up to `most` executions for `lease_seconds`. Never retried: see the module."""
        asked_at = time.monotonic()
        rows = await self._rpc.call(
            "claim_flow_executions",
            {"processor_id": self._processor_id, "max": most, "lease_seconds": lease_seconds},
        )
        claim = read_claim(rows)
        if claim.executions:
            self._clock.lease_granted(
                claim.executions[0].lease_expires_at, lease_seconds, asked_at=asked_at
            )
        return claim

    async def heartbeat(
        self, leases: Sequence[LeaseProof], *, lease_seconds: int
    ) -> list[HeartbeatAnswer]:
        """Extend the leases; one answer each, in the same order."""
        rows = await self._rpc.call(
            "heartbeat_flow_executions",
            {
                "processor_id": self._processor_id,
                "lease_seconds": lease_seconds,
                "leases": [lease.wire() for lease in leases],
            },
        )
        return _in_order("heartbeat_flow_executions", _HEARTBEATS, rows, len(leases))

    async def finish(self, items: Sequence[FinishItem]) -> list[FinishAnswer]:
        """Settle the outcomes; one answer each, in the same order."""
        rows = await self._rpc.call(
            "finish_flow_executions", {"results": [item.wire() for item in items]}
        )
        return _in_order("finish_flow_executions", _FINISHES, rows, len(items))

    async def rescue(self, most: int = 500) -> int:
        """Return expired executions of any processor to the queue; how many there were."""
        name = "rescue_expired_executions"
        rows = await self._rpc.call(name, {"max": most})
        if not isinstance(rows, list):
            raise unreadable(name, "no list")
        return len(rows)

    async def maintain(self) -> dict[str, Any]:
        """Housekeeping in the database; what was done."""
        done = await self._rpc.call("maintain_queue", {})
        if not isinstance(done, dict):
            raise unreadable("maintain_queue", "no object")
        return done


_CLAIMED = TypeAdapter(ClaimedExecution)
_HEARTBEATS = TypeAdapter(list[HeartbeatAnswer])
_FINISHES = TypeAdapter(list[FinishAnswer])


def read_claim(rows: Any) -> Claim:
    """The rows of a claim; one unreadable row spoils no other. Raises ApiUnreachable."""
    if not isinstance(rows, list):
        raise unreadable("claim_flow_executions", "no list")
    claim = Claim()
    for row in rows:
        try:
            claim.executions.append(_CLAIMED.validate_python(row))
        except ValidationError:
            try:
                claim.unreadable.append(LeaseProof.model_validate(row))
            except ValidationError:
                raise unreadable("claim_flow_executions", "a row without its lease") from None
    return claim


Answer = TypeVar("Answer")


def _in_order(
    name: str, adapter: TypeAdapter[list[Answer]], rows: Any, expected: int
) -> list[Answer]:
    try:
        answers = adapter.validate_python(rows)
    except ValidationError as error:
        raise unreadable(name, f"{error.error_count()} problems") from None
    if len(answers) != expected:
        raise unreadable(name, f"{len(answers)} answers to {expected} items")
    return answers
