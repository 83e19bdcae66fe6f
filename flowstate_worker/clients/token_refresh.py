"""Refreshes tokens that are leased to us: opens each, asks Google, seals what comes back.

A token is readable only here, between two lines, and is handed on sealed. Nothing of it is logged.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from flowstate_worker.clients.google_oauth import GoogleOAuth
from flowstate_worker.clients.token_client import ClaimedToken
from flowstate_worker.errors import TokenUnreadable
from flowstate_worker.rules.google_answers import (
    ClientRefused,
    Failed,
    Refreshed,
    Revoked,
    TokenAnswer,
)
from flowstate_worker.rules.sealing import KeyRing, Kind

CLIENT_REFUSED = "client_refused"


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one token; `wire` is what the database is told.

    `outcome`: refreshed, revoked, failed or released. `reason` is from a closed list, "ok" if all
    went well. `answer`: Google's, with the readable token, for who asked for it.
    """

    claimed: ClaimedToken
    outcome: str
    reason: str
    details: dict[str, Any] = field(default_factory=dict, repr=False)
    answer: TokenAnswer | None = None

    def wire(self) -> dict[str, Any]:
        return {
            "user_id": str(self.claimed.user_id),
            "lease_token": str(self.claimed.lease_token),
            "outcome": self.outcome,
            **self.details,
        }


class TokenRefresh:
    """Refreshes with the keys of `ring`, at most `at_once` at a time."""

    def __init__(self, ring: KeyRing, google: GoogleOAuth, *, at_once: int) -> None:
        self.ring = ring
        self._google = google
        self._at_once = at_once

    async def run(self, claimed: Sequence[ClaimedToken]) -> list[Result]:
        """One result for each. Once Google refuses our client the rest is given back untried."""
        gate = asyncio.Semaphore(self._at_once)
        refused = asyncio.Event()

        async def one(token: ClaimedToken) -> Result:
            async with gate:
                if refused.is_set():
                    return Result(token, "released", CLIENT_REFUSED)
                result = await self._refresh(token)
            if result.reason == CLIENT_REFUSED:
                refused.set()
            return result

        return await asyncio.gather(*(one(token) for token in claimed))

    async def _refresh(self, token: ClaimedToken) -> Result:
        try:
            old = self.ring.open(
                token.sealed_refresh_token, token.user_id, Kind.REFRESH, token.key_id
            )
        except TokenUnreadable as error:
            return _failed(token, Failed(error.reason))
        verdict, seconds = await self._google.refresh(old)
        match verdict:
            case Refreshed(answer):
                return self._sealed(token, answer, old, seconds)
            case Revoked(reason):
                return Result(token, "revoked", reason, {"reason": reason})
            case ClientRefused():
                return Result(token, "released", CLIENT_REFUSED)
            case Failed():
                return _failed(token, verdict)

    def _sealed(self, token: ClaimedToken, answer: TokenAnswer, old: str, seconds: float) -> Result:
        user_id, ring = token.user_id, self.ring
        new = answer.refresh_token.get_secret_value() if answer.refresh_token else old
        access = answer.access_token.get_secret_value()
        details = {
            # Both, so that a token always moves to the key that seals now.
            "key_id": ring.key_id,
            "sealed_refresh_token": ring.seal(new, user_id, Kind.REFRESH),
            "sealed_access_token": ring.seal(access, user_id, Kind.ACCESS),
            "expires_in_seconds": max(0, int(answer.expires_in - seconds)),
        }
        return Result(token, "refreshed", "ok", details, answer)


def _failed(token: ClaimedToken, failed: Failed) -> Result:
    details: dict[str, Any] = {"reason": failed.reason}
    if failed.retry_after_seconds is not None:
        details["retry_after_seconds"] = failed.retry_after_seconds
    return Result(token, "failed", failed.reason, details)
