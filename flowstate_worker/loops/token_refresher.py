"""Refreshes Google tokens before they expire, so that an execution finds a fresh one.

One claim each interval; after a full one the next follows at once. The lease in the database lets
one refresher at a time have a token, however many workers do this. Runs only where the OAuth client
is set: see `GoogleSettings.refreshes_tokens`.
"""

import asyncio
from collections import Counter
from random import Random
from typing import Any

from flowstate_worker.clients.token_client import FinishedToken, TokenClient
from flowstate_worker.clients.token_refresh import CLIENT_REFUSED, Result, TokenRefresh
from flowstate_worker.errors import ApiError, ApiUnreachable
from flowstate_worker.google_settings import GoogleSettings
from flowstate_worker.logs import get_logger
from flowstate_worker.metrics import Metrics
from flowstate_worker.rules.backoff import Exponential
from flowstate_worker.signals import Moment, Signals

_log = get_logger(__name__)

_LONGEST_PAUSE_SECONDS = 300.0


class TokenRefresher:
    """Pauses between half and all of `token_refresh_seconds`, and longer while Google refuses our
    client: nothing can be refreshed then, and no token is blamed for it.
    """

    def __init__(
        self,
        tokens: TokenClient,
        refresh: TokenRefresh,
        settings: GoogleSettings,
        *,
        metrics: Metrics,
        signals: Signals,
        rng: Random,
    ) -> None:
        self._tokens = tokens
        self._refresh = refresh
        self._settings = settings
        self._metrics = metrics
        self._signals = signals
        self._rng = rng
        seconds = settings.token_refresh_seconds
        self._refused = Exponential(seconds, max(seconds, _LONGEST_PAUSE_SECONDS), rng)
        self._unstored = Exponential(0.2, 5.0, rng)

    async def run(self) -> None:
        """Refresh for ever."""
        pause = self._pause()
        while True:
            await asyncio.sleep(pause)
            pause = self._pause()
            try:
                results = await self._round()
            except ApiError as error:
                _log.warning("token_refresh_failed", error=str(error))
                continue
            if any(result.reason == CLIENT_REFUSED for result in results):
                pause = self._refused.pause()
                _log.error(
                    "google_client_refused",
                    advice="FLOWSTATE_GOOGLE_CLIENT_ID or _SECRET is wrong: see Google's console",
                    retry_in_seconds=round(pause, 1),
                )
            elif results:
                self._refused.reset()
                if len(results) == self._settings.token_refresh_batch:
                    pause = 0.0

    async def _round(self) -> list[Result]:
        settings = self._settings
        claimed = await self._tokens.claim(
            settings.token_refresh_batch,
            lead_seconds=settings.token_refresh_lead_seconds,
            lease_seconds=settings.token_lease_seconds,
        )
        results = await self._refresh.run(claimed) if claimed else []
        if results:
            await self._store(results)
        self._signals.happened(Moment.TOKENS_REFRESHED)
        return results

    async def _store(self, results: list[Result]) -> None:
        """Repeats the call for as long as the leases may last; what is lost is refreshed anew."""
        wire = [result.wire() for result in results]
        try:
            async with asyncio.timeout(self._settings.token_lease_seconds):
                answers = await self._finish(wire)
        except TimeoutError:
            _log.warning("tokens_not_stored", count=len(results))
            return
        counts: Counter[str] = Counter()
        for result, answer in zip(results, answers, strict=True):
            outcome = result.outcome if answer.answer == "accepted" else answer.answer
            counts[outcome] += 1
            self._metrics.token_refreshes.labels(outcome, result.reason).inc()
        _log.info("tokens_refreshed", **counts)

    async def _finish(self, wire: list[dict[str, Any]]) -> list[FinishedToken]:
        while True:
            try:
                answers = await self._tokens.finish(wire)
            except ApiUnreachable as error:
                _log.warning("token_finish_failed", error=str(error))
                await asyncio.sleep(self._unstored.pause())
            else:
                self._unstored.reset()
                return answers

    def _pause(self) -> float:
        return self._settings.token_refresh_seconds * self._rng.uniform(0.5, 1.0)
