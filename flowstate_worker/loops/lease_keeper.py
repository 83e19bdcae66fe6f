"""Extends all leases of this worker in one call, three times within a lease.

Its answers carry news the other way: a lease that is lost ends the local call, and a user's request
to cancel reaches the executor.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from random import Random

from flowstate_worker.clients.queue_client import QueueClient
from flowstate_worker.errors import ApiError
from flowstate_worker.logs import get_logger
from flowstate_worker.loops.leases import Attempt, End, LeaseBook
from flowstate_worker.metrics import Metrics
from flowstate_worker.rules.backoff import Exponential
from flowstate_worker.rules.models import HeartbeatAnswer
from flowstate_worker.signals import Moment, Signals

_log = get_logger(__name__)

_MOST = 1000
"""Leases in one call: a hosted API shows no more rows of an answer."""


class LeaseKeeper:
    """`heartbeat_seconds` apart, a little less by chance, so that workers do not beat together."""

    def __init__(
        self,
        queue: QueueClient,
        leases: LeaseBook,
        *,
        lease_seconds: int,
        heartbeat_seconds: float,
        metrics: Metrics,
        signals: Signals,
        rng: Random,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue = queue
        self._leases = leases
        self._lease_seconds = lease_seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._metrics = metrics
        self._signals = signals
        self._rng = rng
        self._monotonic = monotonic

    async def run(self) -> None:
        """Beat for ever. A beat that fails is tried again soon: two more fit into the lease."""
        backoff = Exponential(0.2, self._heartbeat_seconds, self._rng)
        while True:
            try:
                await self.beat()
            except ApiError as error:
                _log.warning("heartbeat_failed", error=str(error), leases=len(self._leases))
                await asyncio.sleep(backoff.pause())
                continue
            backoff.reset()
            self._signals.happened(Moment.HEARTBEAT)
            await asyncio.sleep(self._heartbeat_seconds * self._rng.uniform(0.8, 1.0))

    async def beat(self) -> None:
        """One round. With no lease at all it still says that this worker lives."""
        attempts = list(self._leases)
        for start in range(0, len(attempts) or 1, _MOST):
            await self._extend(attempts[start : start + _MOST])

    async def _extend(self, attempts: Sequence[Attempt]) -> None:
        asked_at = self._monotonic()
        answers = await self._queue.heartbeat(
            [attempt.proof for attempt in attempts], lease_seconds=self._lease_seconds
        )
        for attempt, answer in zip(attempts, answers, strict=True):
            self._hear(attempt, answer, asked_at)

    def _hear(self, attempt: Attempt, answer: HeartbeatAnswer, asked_at: float) -> None:
        if answer.answer == "extended":
            attempt.leased_until = asked_at + self._lease_seconds
            if answer.cancel_requested:
                attempt.request_cancel()
            return
        if attempt.has_outcome or attempt.end is not None:
            return  # its outcome is on the way, or stored meanwhile: the finisher hears which
        attempt.stop(End.LOST)
        self._metrics.leases_lost.inc()
        self._signals.happened(Moment.LEASE_LOST)
        _log.warning(
            "lease_lost",
            execution_id=str(attempt.proof.execution_id),
            attempt=attempt.proof.attempt,
            sent=attempt.sent,
        )
