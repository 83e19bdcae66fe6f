"""Rounds on a machine that others use as well: only those count in which it was ours.

A shared core does not only slow a round down, it makes what runs in it look dearer. So each try is
measured for the processor time that was neither ours nor idle, and repeated if that was too much.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from benchmarks.usage import cpu_of_parts

DISTURBED = 0.1
"""Share of all cores that others may take in a round that counts."""
_PATIENCE_SECONDS = 15.0
_TICKS = os.sysconf("SC_CLK_TCK")

Figures = TypeVar("Figures")


class Watch:
    """The machine during one stretch of time, as seen by who owns the processes `pids`."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = pids
        self._wall = time.monotonic()
        self._busy = _busy_seconds()
        self._ours = self._our_seconds()

    def others(self) -> float:
        """Share of all cores that others have used since, 0 to 1."""
        passed = (time.monotonic() - self._wall) * (os.cpu_count() or 1)
        used = _busy_seconds() - self._busy - (self._our_seconds() - self._ours)
        return min(1.0, max(0.0, used / passed))

    def _our_seconds(self) -> float:
        ours = sum(cpu_of_parts(self._pids).values())
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
            usage = resource.getrusage(who)
            ours += usage.ru_utime + usage.ru_stime
        return ours


def rounds(
    count: int, measure: Callable[[], Figures], pids: Mapping[str, int]
) -> tuple[list[Figures], float]:
    """`count` rounds, the least disturbed of up to twice as many.

    Returns what they brought, and the greatest share of the cores that others had in one of them.
    """
    tries: list[tuple[float, int, Figures]] = []
    while len(tries) < 2 * count:
        wait_for_quiet(pids)
        watch = Watch(pids)
        figures = measure()
        tries.append((watch.others(), len(tries), figures))
        if sum(share <= DISTURBED for share, _, _ in tries) == count:
            break
    best = sorted(tries, key=lambda found: found[:2])[:count]
    return [figures for _, _, figures in best], round(best[-1][0], 2)


def wait_for_quiet(pids: Mapping[str, int], *, seconds: float = _PATIENCE_SECONDS) -> bool:
    """Wait until others leave the cores alone for a second; False if they never did."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        watch = Watch(pids)
        time.sleep(1.0)
        if watch.others() <= DISTURBED:
            return True
    return False


def _busy_seconds() -> float:
    """All cores' time since the start that was not idle."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    user, nice, system, _idle, _waiting, irq, softirq, steal = map(int, fields)
    return (user + nice + system + irq + softirq + steal) / _TICKS
