"""The attempts that this worker holds: one book, read and written by all loops.

An attempt stands in the book from its claim until the queue has answered its outcome, so that its
lease is extended for as long as somebody may still need it. It is known by its lease token: the
same execution may come back with the same attempt number when an attempt was not spent.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from uuid import UUID

from flowstate_worker.rules.models import ClaimedExecution, LeaseProof


class End(Enum):
    """Why the worker itself ends an attempt early."""

    LOST = auto()  # the lease belongs to nobody or somebody else: say nothing more about it
    DRAINED = auto()  # the worker stops


@dataclass(slots=True, eq=False)
class Attempt:
    """One claimed execution on its way to an outcome. Times are monotonic seconds.

    `sent`: a request that may run the script has been begun.
    `leased_until`: not later than the lease ends in the database, counted from before the call that
      granted it.
    """

    execution: ClaimedExecution
    proof: LeaseProof
    leased_until: float
    sent: bool = False
    has_outcome: bool = False
    cancel_requested: bool = False
    end: End | None = None
    runner: asyncio.Task[None] | None = None
    _pausing: asyncio.Future[None] | None = None

    def request_cancel(self) -> None:
        """The user wants no more of it: ends a pause; a call under way is waited for."""
        self.cancel_requested = True
        if self._pausing is not None and not self._pausing.done():
            self._pausing.set_result(None)

    def stop(self, end: End) -> None:
        """End the attempt now, whatever it waits for."""
        self.end = end
        if self.runner is not None and not self.has_outcome:
            self.runner.cancel()

    async def pause(self, seconds: float) -> None:
        """Wait, but not beyond a request to cancel."""
        if self.cancel_requested:
            return
        loop = asyncio.get_running_loop()
        self._pausing = loop.create_future()
        timer = loop.call_later(seconds, _wake, self._pausing)
        try:
            await self._pausing
        finally:
            timer.cancel()
            self._pausing = None


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class LeaseBook:
    """At most `capacity` attempts. `on_free` is called whenever there is room again."""

    def __init__(self, capacity: int) -> None:
        self.on_free: Callable[[], None] = lambda: None
        self._capacity = capacity
        self._held: dict[UUID, Attempt] = {}
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[Attempt]:
        return iter(list(self._held.values()))

    @property
    def free(self) -> int:
        return self._capacity - len(self._held)

    def add(self, attempt: Attempt) -> None:
        self._held[attempt.proof.lease_token] = attempt
        self._empty.clear()

    def remove(self, attempt: Attempt) -> None:
        """Idempotent: a lease may be lost and answered at the same time."""
        self._held.pop(attempt.proof.lease_token, None)
        if not self._held:
            self._empty.set()

    def freed(self) -> None:
        """Say that a batch of `remove` is over."""
        self.on_free()

    async def emptied(self) -> None:
        """Wait until no attempt is left."""
        await self._empty.wait()
