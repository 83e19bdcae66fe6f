"""Waiting for a condition in place of sleeping for a while."""

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], object], *, seconds: float = 20.0) -> None:
    """Returns as soon as `condition` is true. Raises TimeoutError if it does not become so."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the condition may be a database's
            await asyncio.sleep(0.005)
