"""What every worker does for the queue as a whole: rescue, and housekeeping in the database.

Neither hangs on one worker: all do both, at moments drawn by chance, so that a crowd of workers is
spread out. A rescue that finds nothing is one index probe; housekeeping skips itself in the
database while somebody else is at it.
"""

import asyncio
from random import Random

from flowstate_worker.clients.queue_client import QueueClient
from flowstate_worker.errors import ApiError
from flowstate_worker.logs import get_logger
from flowstate_worker.metrics import Metrics
from flowstate_worker.signals import Moment, Signals

_log = get_logger(__name__)

_RESCUE_BATCH = 500


class Rescue:
    """Returns expired executions, whoever held them. Pauses between half and all of `seconds`."""

    def __init__(
        self, queue: QueueClient, *, seconds: float, metrics: Metrics, signals: Signals, rng: Random
    ) -> None:
        self._queue = queue
        self._seconds = seconds
        self._metrics = metrics
        self._signals = signals
        self._rng = rng

    async def run(self) -> None:
        """Rescue for ever."""
        while True:
            await asyncio.sleep(self._seconds * self._rng.uniform(0.5, 1.0))
            try:
                while (count := await self._queue.rescue(_RESCUE_BATCH)) > 0:
                    self._metrics.rescued.inc(count)
                    _log.warning("rescued", count=count)
                    if count < _RESCUE_BATCH:
                        break
            except ApiError as error:
                _log.warning("rescue_failed", error=str(error))
                continue
            self._signals.happened(Moment.RESCUED)


class Housekeeping:
    """Partitions and pruning: first within a tenth of `seconds`, then every 0.5 to 1.5 of it."""

    def __init__(self, queue: QueueClient, *, seconds: float, rng: Random) -> None:
        self._queue = queue
        self._seconds = seconds
        self._rng = rng

    async def run(self) -> None:
        """Keep house for ever."""
        pause = self._seconds * self._rng.uniform(0.0, 0.1)
        while True:
            await asyncio.sleep(pause)
            pause = self._seconds * self._rng.uniform(0.5, 1.5)
            try:
                done = await self._queue.maintain()
            except ApiError as error:
                _log.warning("housekeeping_failed", error=str(error))
            else:
                _log.info("housekeeping", **{key: value for key, value in done.items() if value})
