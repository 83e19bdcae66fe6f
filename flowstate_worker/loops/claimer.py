"""Claims executions for as long as there is room.

After a full claim it asks again at once; after a short one it waits for a wake-up, for room that a
stored batch made (which may also have freed a slot for what could not be claimed before), or for
the poll: from `poll_min_seconds`, doubling, jittered, to `poll_max_seconds`. Polling alone finds
all work; wake-ups only make it sooner.
"""

import asyncio
import time
from collections.abc import Callable
from random import Random

from flowstate_worker.clients.queue_client import Claim, QueueClient
from flowstate_worker.errors import ApiError
from flowstate_worker.logs import get_logger
from flowstate_worker.loops.attempts import Attempts
from flowstate_worker.loops.leases import LeaseBook
from flowstate_worker.metrics import Metrics
from flowstate_worker.rules.backoff import Exponential
from flowstate_worker.signals import Moment, Signals

_log = get_logger(__name__)

_MAX_BACKOFF_SECONDS = 10.0


class Claimer:
    """`nudge` makes it look at once; `stop` lets a claim under way end and gives its rows back."""

    def __init__(
        self,
        queue: QueueClient,
        leases: LeaseBook,
        attempts: Attempts,
        *,
        lease_seconds: int,
        batch: int,
        poll_min_seconds: float,
        poll_max_seconds: float,
        interval_seconds: float,
        metrics: Metrics,
        signals: Signals,
        rng: Random,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue = queue
        self._leases = leases
        self._attempts = attempts
        self._lease_seconds = lease_seconds
        self._batch = batch
        self._interval_seconds = interval_seconds
        self._metrics = metrics
        self._signals = signals
        self._monotonic = monotonic
        self._poll = Exponential(poll_min_seconds, poll_max_seconds, rng)
        self._failures = Exponential(0.2, _MAX_BACKOFF_SECONDS, rng)
        self._nudged = asyncio.Event()
        self._stopping = False

    def nudge(self) -> None:
        self._nudged.set()

    def stop(self) -> None:
        self._stopping = True
        self._nudged.set()

    async def run(self) -> None:
        """Claim until stopped."""
        while not self._stopping:
            self._nudged.clear()
            room = min(self._leases.free, self._batch)
            if room <= 0:
                await self._nudged.wait()
                continue
            started = self._monotonic()
            try:
                claim = await self._claim(room)
            except ApiError as error:
                _log.warning("claim_failed", error=str(error))
                await self._wait(self._failures.pause(), restart=False)
                continue
            self._failures.reset()
            await self._begin(claim, started)
            await self._rest(len(claim.executions), room, started)

    async def _claim(self, room: int) -> Claim:
        started = self._monotonic()
        claim = await self._queue.claim(room, lease_seconds=self._lease_seconds)
        count = len(claim.executions) + len(claim.unreadable)
        if count:
            self._metrics.claim_seconds.observe(self._monotonic() - started)
            self._metrics.claim_size.observe(count)
            _log.info("claimed", count=count, in_flight=len(self._leases) + count)
        else:
            self._metrics.polls.inc()
            self._signals.happened(Moment.POLLED)
        return claim

    async def _begin(self, claim: Claim, asked_at: float) -> None:
        # Counted from before the call: the lease cannot end earlier than that in the database.
        leased_until = asked_at + self._lease_seconds
        for execution in claim.executions:
            if self._stopping:
                await self._attempts.give_back(execution, leased_until)
            else:
                self._attempts.start(execution, leased_until)
        for proof in claim.unreadable:
            _log.error("claim_unreadable", execution_id=str(proof.execution_id))
            await self._attempts.refuse(proof)

    async def _rest(self, got: int, room: int, started: float) -> None:
        """Until the next claim is worth its call."""
        if got:
            self._poll.reset()
        if got < room:
            await self._wait(self._poll.pause(), restart=True)
        # Room comes in small pieces: gather some of them.
        rest = self._interval_seconds - (self._monotonic() - started)
        if rest > 0 and not self._stopping:
            await asyncio.sleep(rest)

    async def _wait(self, seconds: float, *, restart: bool) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._nudged.wait()
        except TimeoutError:
            return
        if restart:
            self._poll.reset()
