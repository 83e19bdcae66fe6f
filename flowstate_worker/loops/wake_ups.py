"""Listens on the queue's Realtime topic: a broadcast there means that there is work.

Nothing depends on it. The claimer polls by itself, so that a silent, refused or missing Realtime
costs a poll interval and no more; this loop reconnects with growing, jittered pauses for ever.

The client's own reconnecting gives up after a few tries without telling, so it is switched off: a
connection is used until it breaks, then replaced as a whole.
"""

import asyncio
from collections.abc import Callable
from random import Random
from urllib.parse import urlsplit, urlunsplit

from realtime import AsyncRealtimeChannel, AsyncRealtimeClient, RealtimeSubscribeStates

from flowstate_worker.logs import get_logger
from flowstate_worker.metrics import Metrics
from flowstate_worker.rules.backoff import Exponential
from flowstate_worker.signals import Moment, Signals

_log = get_logger(__name__)

TOPIC = "flowstate:queue"
EVENT = "wake"
_CLOSE_SECONDS = 2.0


class WakeUps:
    """Calls `on_wake` for every broadcast, and once after each subscription: some may be missed."""

    def __init__(
        self,
        url: str,
        key: str,
        on_wake: Callable[[], None],
        *,
        metrics: Metrics,
        signals: Signals,
        rng: Random,
        max_pause_seconds: float = 60.0,
    ) -> None:
        parts = urlsplit(url)
        scheme = "wss" if parts.scheme == "https" else "ws"
        path = f"{parts.path.rstrip('/')}/realtime/v1"
        self._url = urlunsplit((scheme, parts.netloc, path, "", ""))
        self._key = key
        self._on_wake = on_wake
        self._metrics = metrics
        self._signals = signals
        self._backoff = Exponential(0.5, max_pause_seconds, rng)

    async def run(self) -> None:
        """Listen for ever."""
        while True:
            try:
                why = await self._listen()
            except Exception as error:
                why = type(error).__name__
            pause = self._backoff.pause()
            _log.info("wake_ups_silent", reason=why, retry_in_seconds=round(pause, 1))
            await asyncio.sleep(pause)

    async def _listen(self) -> str:
        """Subscribes and waits until the subscription ends; says how it ended."""
        ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def on_state(state: RealtimeSubscribeStates, _error: Exception | None) -> None:
            if state is RealtimeSubscribeStates.SUBSCRIBED:
                self._backoff.reset()
                self._signals.happened(Moment.SUBSCRIBED)
                self._on_wake()
            elif not ended.done():
                ended.set_result(str(state.value))

        client = AsyncRealtimeClient(self._url, token=self._key, auto_reconnect=False)
        try:
            await self._channel(client).subscribe(on_state)
            return await ended
        finally:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await client.close()

    def _channel(self, client: AsyncRealtimeClient) -> AsyncRealtimeChannel:
        channel = client.channel(
            TOPIC,
            {
                "config": {
                    "broadcast": {"ack": False, "self": False},
                    "presence": {"key": "", "enabled": False},
                    "private": True,
                }
            },
        )
        return channel.on_broadcast(EVENT, lambda _payload: self._wake())

    def _wake(self) -> None:
        self._metrics.wakeups.inc()
        self._signals.happened(Moment.WOKEN)
        self._on_wake()
