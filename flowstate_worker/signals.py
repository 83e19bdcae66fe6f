"""Named moments in the worker's life, for tests to wait on in place of sleeping.

Raising a signal costs an addition when nobody waits. Nothing in the worker depends on one.
"""

import asyncio
from collections import defaultdict
from enum import StrEnum


class Moment(StrEnum):
    READY = "ready"  # registered, loops running
    CLAIMED = "claimed"  # per claimed execution
    CALL_STARTED = "call_started"  # a run's first hop is about to be written
    STORED = "stored"  # per outcome that the queue has answered
    LEASE_LOST = "lease_lost"
    HEARTBEAT = "heartbeat"
    POLLED = "polled"  # a claim brought nothing
    WOKEN = "woken"  # by Realtime
    SUBSCRIBED = "subscribed"  # to the wake-up topic
    RESCUED = "rescued"  # a rescue call was answered
    TOKENS_REFRESHED = "tokens_refreshed"  # a round is over, whatever it brought
    DRAINING = "draining"


class Signals:
    """How often each moment has come, and a way to wait until it has come often enough."""

    def __init__(self) -> None:
        self._counts: defaultdict[Moment, int] = defaultdict(int)
        self._changed: asyncio.Event | None = None

    def count(self, moment: Moment) -> int:
        return self._counts[moment]

    def happened(self, moment: Moment, times: int = 1) -> None:
        self._counts[moment] += times
        if self._changed is not None:
            self._changed.set()

    async def reached(
        self, moment: Moment, times: int = 1, *, timeout_seconds: float = 20.0
    ) -> None:
        """Wait until `moment` has come `times` in all. Raises TimeoutError with its name."""
        try:
            async with asyncio.timeout(timeout_seconds):
                while self._counts[moment] < times:
                    self._changed = self._changed or asyncio.Event()
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            seen = self._counts[moment]
            raise TimeoutError(
                f"{moment.value}: {seen} of {times} in {timeout_seconds} s"
            ) from None
