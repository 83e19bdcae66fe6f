"""Waiting for what will happen, with a deadline that only a failure ever reaches."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

DEADLINE_SECONDS = 20.0

T = TypeVar("T")


async def soon(awaitable: Awaitable[T]) -> T:
    return await asyncio.wait_for(awaitable, DEADLINE_SECONDS)


async def eventually(attempt: Callable[[], Awaitable[T | None]]) -> T:
    """Try again until `attempt` gives something other than None."""

    async def repeat() -> T:
        while True:
            result = await attempt()
            if result is not None:
                return result
            await asyncio.sleep(0.02)

    return await soon(repeat())
