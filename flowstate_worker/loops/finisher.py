"""Stores outcomes: gathers them, sends batches, and keeps each until the queue has answered it.

A batch goes out as soon as the one before it is stored and a tick has passed, so that an idle
worker stores at once and a busy one in large batches. The queue of outcomes is bounded: when the
API does not answer, executors wait here, no room becomes free, and the claimer claims no more.

Sending again is safe, since every outcome is fenced by its lease token. What the API refuses is
split until the item that spoils the batch stands alone.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import orjson
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type
from tenacity.wait import wait_random_exponential

from flowstate_worker.clients.queue_client import QueueClient
from flowstate_worker.errors import (
    ApiError,
    ApiKeyRefused,
    ApiRefused,
    ApiUnreachable,
    MigrationsMissing,
)
from flowstate_worker.logs import get_logger
from flowstate_worker.loops.leases import Attempt, LeaseBook
from flowstate_worker.metrics import Metrics
from flowstate_worker.rules.models import MAX_RESULT_BYTES, FinishAnswer, FinishItem
from flowstate_worker.rules.outcomes import without_result
from flowstate_worker.signals import Moment, Signals

_log = get_logger(__name__)

_SAME_ANSWERS = 4
"""Times that the API may answer a batch with a server error before the batch is split."""


@dataclass(frozen=True, slots=True)
class _Unstored:
    attempt: Attempt | None
    item: FinishItem
    size: int


class Finisher:
    """`put` outcomes, `run` stores them, `flushed` waits until all are."""

    def __init__(
        self,
        queue: QueueClient,
        leases: LeaseBook,
        *,
        metrics: Metrics,
        signals: Signals,
        batch: int = 200,
        tick_seconds: float = 0.05,
        capacity: int = 1000,
        batch_bytes: int = 2_000_000,
    ) -> None:
        self._queue = queue
        self._leases = leases
        self._metrics = metrics
        self._signals = signals
        self._batch = batch
        self._tick_seconds = tick_seconds
        self._batch_bytes = batch_bytes
        self._unstored: asyncio.Queue[_Unstored] = asyncio.Queue(capacity)
        self._left_over: _Unstored | None = None

    async def put(self, attempt: Attempt | None, item: FinishItem) -> None:
        """Take one outcome over; waits while too many are unstored."""
        size = 0 if item.result is None else len(orjson.dumps(item.result))
        if size > MAX_RESULT_BYTES:
            item = without_result(item, "result_too_large")
            size = 0
        await self._unstored.put(_Unstored(attempt, item, size))

    async def run(self) -> None:
        """Store outcomes for ever."""
        while True:
            batch = await self._next_batch()
            started = time.monotonic()
            await self._store(batch)
            for _ in batch:
                self._unstored.task_done()
            self._leases.freed()
            rest = self._tick_seconds - (time.monotonic() - started)
            if rest > 0 and self._unstored.qsize() < self._batch:
                await asyncio.sleep(rest)

    async def flushed(self) -> None:
        """Wait until everything that was put is settled."""
        await self._unstored.join()

    @property
    def unstored(self) -> int:
        return self._unstored.qsize()

    async def _next_batch(self) -> list[_Unstored]:
        first = self._left_over or await self._unstored.get()
        self._left_over = None
        batch, size = [first], first.size
        while len(batch) < self._batch and not self._unstored.empty():
            one = self._unstored.get_nowait()
            if size + one.size > self._batch_bytes:
                self._left_over = one
                break
            batch.append(one)
            size += one.size
        return batch

    async def _store(self, batch: Sequence[_Unstored]) -> None:
        started = time.monotonic()
        try:
            answers = await self._answers(batch)
        except ApiError as refusal:
            await self._split(batch, refusal)
            return
        self._metrics.finish_seconds.observe(time.monotonic() - started)
        self._metrics.finish_size.observe(len(batch))
        lost = 0
        for unstored, answer in zip(batch, answers, strict=True):
            lost += self._settle(unstored, answer)
        _log.info("outcomes_stored", count=len(batch), leases_lost=lost)

    async def _answers(self, batch: Sequence[_Unstored]) -> list[FinishAnswer]:
        """Sends until there is an answer. Raises ApiError when this batch will not get one."""
        items = [unstored.item for unstored in batch]

        def hopeless(state: RetryCallState) -> bool:
            error = state.outcome.exception() if state.outcome else None
            answered = isinstance(error, ApiUnreachable) and error.status is not None
            return len(items) > 1 and answered and state.attempt_number >= _SAME_ANSWERS

        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type((ApiUnreachable, ApiKeyRefused, MigrationsMissing)),
            wait=wait_random_exponential(multiplier=0.1, max=5.0),
            stop=hopeless,
            before_sleep=_say,
            reraise=True,
        ):
            with attempt:
                return await self._queue.finish(items)
        raise AssertionError("tenacity returns or raises")

    async def _split(self, batch: Sequence[_Unstored], refusal: ApiError) -> None:
        if len(batch) > 1:
            half = len(batch) // 2
            _log.warning("batch_split", count=len(batch), error=str(refusal))
            await self._store(batch[:half])
            await self._store(batch[half:])
            return
        (bad,) = batch
        execution_id = str(bad.item.proof.execution_id)
        if isinstance(refusal, ApiRefused) and bad.item.result is not None:
            _log.error("outcome_refused", execution_id=execution_id, error=str(refusal))
            item = without_result(bad.item, "result_refused")
            await self._store([_Unstored(bad.attempt, item, 0)])
            return
        # Nothing more can be said about it: its lease ends, and the rescue decides.
        _log.error("outcome_dropped", execution_id=execution_id, error=str(refusal))
        self._done(bad)

    def _settle(self, unstored: _Unstored, answer: FinishAnswer) -> int:
        self._metrics.finish_answers.labels(answer.answer).inc()
        self._done(unstored)
        if answer.answer != "lease_lost":
            return 0
        self._metrics.leases_lost.inc()
        self._signals.happened(Moment.LEASE_LOST)
        _log.warning(
            "late_outcome_refused",
            execution_id=str(answer.execution_id),
            attempt=answer.attempt,
            outcome=unstored.item.outcome.value,
        )
        return 1

    def _done(self, unstored: _Unstored) -> None:
        if unstored.attempt is not None:
            self._leases.remove(unstored.attempt)
        self._signals.happened(Moment.STORED)


def _say(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    _log.warning("finish_failed", error=str(error), tries=state.attempt_number)
