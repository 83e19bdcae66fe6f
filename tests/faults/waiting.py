"""Waiting for a condition, with a deadline that only a failure ever reaches."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

DEADLINE_SECONDS = 60.0
_POLL_SECONDS = 0.03

T = TypeVar("T")


def until(
    condition: Callable[[], T | None],
    what: str,
    *,
    seconds: float = DEADLINE_SECONDS,
    told: Callable[[], str] = lambda: "",
) -> T:
    """The first true value of `condition`. A failure says `what` was waited for, and `told()`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"this did not happen within {seconds:g} s: {what}\n{told()}")
        time.sleep(_POLL_SECONDS)
