"""Starts attempts and sees each to its end: one asyncio task each, bounded by the claims."""

import asyncio
from collections.abc import Callable
from random import Random

from flowstate_worker.loops.executor import Executor
from flowstate_worker.loops.finisher import Finisher
from flowstate_worker.loops.leases import Attempt, LeaseBook
from flowstate_worker.metrics import Metrics
from flowstate_worker.rules.classification import failed
from flowstate_worker.rules.models import ClaimedExecution, FinishItem, LeaseProof, Outcome
from flowstate_worker.rules.outcomes import unsuccessful
from flowstate_worker.signals import Moment, Signals


class Attempts:
    """Between claimer, executor and finisher. `on_crash` hears of an attempt that raised."""

    def __init__(
        self,
        leases: LeaseBook,
        executor: Executor,
        finisher: Finisher,
        *,
        metrics: Metrics,
        signals: Signals,
        rng: Random,
        on_crash: Callable[[BaseException], None],
    ) -> None:
        self._leases = leases
        self._executor = executor
        self._finisher = finisher
        self._metrics = metrics
        self._signals = signals
        self._rng = rng
        self._on_crash = on_crash

    def start(self, execution: ClaimedExecution, leased_until: float) -> None:
        attempt = self._book(execution, leased_until)
        attempt.runner = asyncio.create_task(self._run(attempt))
        attempt.runner.add_done_callback(self._report)

    async def give_back(self, execution: ClaimedExecution, leased_until: float) -> None:
        """For a row that was claimed while the worker was told to stop: never begun."""
        attempt = self._book(execution, leased_until)
        await self._hand_over(attempt, FinishItem(proof=attempt.proof, outcome=Outcome.RELEASED))

    async def refuse(self, proof: LeaseProof) -> None:
        """For a row that cannot be read: it ends here, so that it does not come back for ever."""
        verdict = failed("malformed_claim")
        item = unsuccessful(proof, verdict, resumed=True, duration_ms=0, rng=self._rng)
        await self._finisher.put(None, item)

    def _book(self, execution: ClaimedExecution, leased_until: float) -> Attempt:
        proof = LeaseProof(
            execution_id=execution.execution_id,
            attempt=execution.attempt,
            lease_token=execution.lease_token,
        )
        attempt = Attempt(execution, proof, leased_until)
        self._leases.add(attempt)
        self._signals.happened(Moment.CLAIMED)
        return attempt

    async def _run(self, attempt: Attempt) -> None:
        item = await self._executor.attempt(attempt)
        if item is None:
            self._leases.remove(attempt)
            self._leases.freed()
            return
        await self._hand_over(attempt, item)

    async def _hand_over(self, attempt: Attempt, item: FinishItem) -> None:
        attempt.has_outcome = True
        self._metrics.executions.labels(item.outcome.value, item.category).inc()
        if item.duration_ms is not None:
            self._metrics.call_seconds.observe(item.duration_ms / 1000)
        await self._finisher.put(attempt, item)

    def _report(self, runner: asyncio.Task[None]) -> None:
        if not runner.cancelled() and (error := runner.exception()) is not None:
            self._on_crash(error)
