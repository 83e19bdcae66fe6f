"""The database's time, as far as this process can know it.

Requests to instances carry a timestamp, and an instance refuses one that is 300 s off. A worker's
own clock may be an hour off; the database's is kept by somebody. Every claim tells its time, so
that the worker needs no right clock at all, only one that runs at the right speed.
"""

import time
from collections.abc import Callable
from datetime import datetime


class DatabaseClock:
    """Unix time by the database; by this machine until the first claim has told better."""

    def __init__(
        self,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._monotonic = monotonic
        self._wall = wall
        self._offset: float | None = None

    def lease_granted(self, expires_at: datetime, lease_seconds: float, *, asked_at: float) -> None:
        """A lease of that length was granted between `asked_at` (monotonic) and now."""
        between = (asked_at + self._monotonic()) / 2
        self._offset = expires_at.timestamp() - lease_seconds - between

    def now(self) -> float:
        """Seconds since 1970."""
        if self._offset is None:
            return self._wall()
        return self._monotonic() + self._offset
