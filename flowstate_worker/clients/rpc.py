"""One call of an SQL function through the API, bounded in time, its failure read."""

import asyncio
from collections.abc import Callable
from typing import Any

from postgrest.exceptions import APIError
from supabase import AsyncClient

from flowstate_worker.clients.api_errors import NO_ANSWER, no_answer, read_refusal
from flowstate_worker.clients.supabase_client import last_status
from flowstate_worker.errors import ApiError


class Rpc:
    """Calls functions with `client`; `observe` is told each call's name and its error, if any."""

    def __init__(
        self,
        client: AsyncClient,
        *,
        timeout_seconds: float = 15.0,
        observe: Callable[[str, ApiError | None], None] = lambda _call, _error: None,
    ) -> None:
        self._client = client
        self._timeout_seconds = timeout_seconds
        self._observe = observe

    async def call(self, name: str, params: dict[str, Any]) -> Any:
        """What the function returns. Raises ApiError."""
        error: ApiError | None = None
        last_status.set(None)
        try:
            # The client's own time-outs bound single waits; this one bounds the call.
            async with asyncio.timeout(self._timeout_seconds):
                return (await self._client.rpc(name, params).execute()).data
        except APIError as refusal:
            error = read_refusal(name, refusal, last_status.get())
        except NO_ANSWER as failure:
            error = no_answer(name, failure)
        finally:
            self._observe(name, error)
        raise error
