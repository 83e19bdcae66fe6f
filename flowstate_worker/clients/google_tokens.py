"""Access tokens of users, for whoever is about to call Google on their behalf.

Those that the refresher keeps fresh are read and opened. The others are refreshed here, when they
are asked for, under the same lease: however many ask, in however many processes, Google is asked
once. Who comes second waits for the one that holds the lease.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from uuid import UUID

from pydantic import SecretStr

from flowstate_worker.clients.token_client import StoredToken, TokenClient
from flowstate_worker.clients.token_refresh import Result, TokenRefresh
from flowstate_worker.errors import TokenUnreadable
from flowstate_worker.rules.sealing import Kind

_LOOKS = 3


@dataclass(frozen=True, slots=True)
class AccessToken:
    """Good for at least the time that was asked for. Its text does not show in logs or errors."""

    token: SecretStr
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NoAccess:
    """There is no token to use now.

    `reason`: `not_connected`; `revoked`, the user has to connect anew; `busy`, another refreshes it
    and took too long; `not_refreshed`, its user is suspended or leaving; or why a refresh failed.
    """

    reason: str
    retry_in_seconds: int | None = None


Access = AccessToken | NoAccess


class GoogleTokens:
    """`wait_seconds` bound the wait for a refresh that somebody else has under way."""

    def __init__(
        self,
        tokens: TokenClient,
        refresh: TokenRefresh,
        *,
        lease_seconds: int = 60,
        wait_seconds: float = 20.0,
        poll_seconds: float = 0.2,
        observe: Callable[[Result], None] = lambda _result: None,
    ) -> None:
        self._tokens = tokens
        self._refresh = refresh
        self._lease_seconds = lease_seconds
        self._wait_seconds = wait_seconds
        self._poll_seconds = poll_seconds
        self._observe = observe

    async def access(
        self, user_ids: Collection[UUID], *, valid_seconds: int = 60
    ) -> dict[UUID, Access]:
        """An answer for each of at most 1,000 users. Raises ApiError."""
        answers: dict[UUID, Access] = {}
        passed: Counter[UUID] = Counter()
        pending = list(dict.fromkeys(user_ids))
        until = time.monotonic() + self._wait_seconds
        while pending:
            stale = await self._read(pending, valid_seconds, answers)
            if stale:
                await self._renew(stale, valid_seconds, answers, passed)
            pending = [one for one in stale if one not in answers]
            if pending and time.monotonic() >= until:
                return answers | dict.fromkeys(pending, NoAccess("busy"))
            if pending:
                await asyncio.sleep(self._poll_seconds)
        return answers

    async def _read(
        self, user_ids: list[UUID], valid_seconds: int, answers: dict[UUID, Access]
    ) -> dict[UUID, StoredToken]:
        """Answers what can be answered from the database; the others, which have expired."""
        rows = {row.user_id: row for row in await self._tokens.get(user_ids)}
        stale: dict[UUID, StoredToken] = {}
        for user_id in user_ids:
            row = rows.get(user_id)
            if row is None:
                answers[user_id] = NoAccess("not_connected")
            elif row.status == "revoked":
                answers[user_id] = NoAccess("revoked")
            elif row.sealed_access_token and (row.expires_in_seconds or 0) >= valid_seconds:
                answers[user_id] = self._open(row, row.sealed_access_token)
            else:
                stale[user_id] = row
        return stale

    async def _renew(
        self,
        stale: dict[UUID, StoredToken],
        valid_seconds: int,
        answers: dict[UUID, Access],
        passed: Counter[UUID],
    ) -> None:
        """Refreshes those that nobody else does; says of the others what there is to say."""
        claimed = await self._tokens.claim(
            len(stale),
            lead_seconds=valid_seconds,
            lease_seconds=self._lease_seconds,
            user_ids=stale.keys(),
        )
        if claimed:
            results = await self._refresh.run(claimed)
            ends = await self._tokens.finish([result.wire() for result in results])
            for result, end in zip(results, ends, strict=True):
                self._observe(result)
                # A lease that was lost: the user left, or connected anew. Look again.
                if end.answer == "accepted":
                    answers[result.claimed.user_id] = _told(result)
        taken = {token.user_id for token in claimed}
        for user_id, row in stale.items():
            if user_id in taken or row.is_refreshing:
                continue
            # Leased since it was read, or written at this moment? Then it is so for one look.
            passed[user_id] += 1
            after = row.retry_in_seconds
            if passed[user_id] == _LOOKS or (after or 0) > 0:
                answers[user_id] = NoAccess(row.reason or "not_refreshed", after)

    def _open(self, row: StoredToken, sealed: str) -> Access:
        try:
            token = self._refresh.ring.open(sealed, row.user_id, Kind.ACCESS, row.key_id or "")
        except TokenUnreadable as error:
            return NoAccess(error.reason)
        return AccessToken(SecretStr(token), tuple(row.scopes))


def _told(result: Result) -> Access:
    if result.answer is not None:
        return AccessToken(result.answer.access_token, tuple(result.answer.scopes))
    return NoAccess("revoked" if result.outcome == "revoked" else result.reason)
