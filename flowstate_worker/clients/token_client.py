"""The token functions of the database, typed. Every token that crosses this border is sealed.

- `finish` is fenced by the lease of each token: repeated after a lost answer it changes nothing.
- `claim` is never repeated: tokens of a claim whose answer was lost are leased to nobody who knows,
  until those leases end. Their access tokens are good for minutes still.
"""

from collections.abc import Collection, Sequence
from typing import Any, Literal, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from flowstate_worker.clients.api_errors import unreadable
from flowstate_worker.clients.rpc import Rpc

_FROZEN = ConfigDict(frozen=True, hide_input_in_errors=True)


class ClaimedToken(BaseModel):
    """A row of `claim_google_token_refreshes`."""

    model_config = _FROZEN

    user_id: UUID
    key_id: str
    sealed_refresh_token: str = Field(repr=False)
    lease_token: UUID


class StoredToken(BaseModel):
    """A row of `get_google_tokens`."""

    model_config = _FROZEN

    user_id: UUID
    status: Literal["active", "failing", "revoked"]
    reason: str | None
    key_id: str | None
    sealed_access_token: str | None = Field(repr=False)
    expires_in_seconds: int | None
    scopes: list[str]
    is_refreshing: bool
    retry_in_seconds: int | None


class FinishedToken(BaseModel):
    """What became of a result."""

    model_config = _FROZEN

    user_id: UUID
    answer: Literal["accepted", "lease_lost"]


class TokenClient:
    """One refresher's view of the tokens. Every method raises ApiError."""

    def __init__(self, rpc: Rpc, refresher_id: str) -> None:
        self._rpc = rpc
        self._refresher_id = refresher_id

    async def get(self, user_ids: Collection[UUID]) -> list[StoredToken]:
        """The connections of these users, as far as there are any; notes that they are in use."""
        name = "get_google_tokens"
        rows = await self._rpc.call(name, {"user_ids": [str(one) for one in user_ids]})
        return _read(name, _STORED, rows)

    async def claim(
        self,
        most: int,
        *,
        lead_seconds: int,
        lease_seconds: int,
        user_ids: Collection[UUID] | None = None,
    ) -> list[ClaimedToken]:
        """Lease tokens that expire within `lead_seconds`: of active users, or of these."""
        name = "claim_google_token_refreshes"
        rows = await self._rpc.call(
            name,
            {
                "refresher_id": self._refresher_id,
                "max": most,
                "lead_seconds": lead_seconds,
                "lease_seconds": lease_seconds,
                "user_ids": None if user_ids is None else [str(one) for one in user_ids],
            },
        )
        return _read(name, _CLAIMED, rows)

    async def finish(self, results: Sequence[dict[str, Any]]) -> list[FinishedToken]:
        """End refreshes; one answer each, in the same order."""
        name = "finish_google_token_refreshes"
        answers = _read(name, _FINISHED, await self._rpc.call(name, {"results": list(results)}))
        if len(answers) != len(results):
            raise unreadable(name, f"{len(answers)} answers to {len(results)} items")
        return answers

    async def vault_keys(self) -> dict[str, object]:
        """The keys that Vault holds, by id; none where there is no Vault."""
        name = "get_google_token_keys"
        keys = await self._rpc.call(name, {})
        if not isinstance(keys, dict):
            raise unreadable(name, "no object")
        return keys


_STORED = TypeAdapter(list[StoredToken])
_CLAIMED = TypeAdapter(list[ClaimedToken])
_FINISHED = TypeAdapter(list[FinishedToken])


Rows = TypeVar("Rows")


def _read(name: str, adapter: TypeAdapter[Rows], rows: Any) -> Rows:
    try:
        return adapter.validate_python(rows)
    except ValidationError as error:
        raise unreadable(name, f"{error.error_count()} problems") from None
