"""Memory of one worker process over 100,000 executions: does it grow?

    python -m benchmarks.memory [--executions 100000] [--in-flight 256]

Runs take no time, so that this is done in minutes; every execution has its own id, signature,
answer and log lines all the same.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from typing import Any

from benchmarks import children
from benchmarks.results import Report
from benchmarks.usage import resident_mb
from benchmarks.world import SLOTS_PER_OWNER, World, open_world

_USERS = 1000
_PORTION = 20_000
"""Queued at a time, so that the queue's size is not what changes."""
_SAMPLE_SECONDS = 0.5
_WARM = 10_000
"""Executions after which all code has run and all pools are filled; growth is told from there."""


def watch(world: World, worker: children.Worker, executions: int) -> list[tuple[int, float]]:
    """(executions stored, resident MB), from the first to the last."""
    seen = [(0, resident_mb(worker.pid))]
    queued = 0
    while (stored := seen[-1][0]) < executions:
        if queued - stored < _PORTION // 2 and queued < executions:
            more = min(_PORTION, executions - queued)
            world.fill(world.available() + more)
            queued += more
        time.sleep(_SAMPLE_SECONDS)
        seen.append((worker.stored(), resident_mb(worker.pid)))
    return seen


def summary(seen: list[tuple[int, float]]) -> dict[str, Any]:
    warm = [(stored, mb) for stored, mb in seen if stored >= min(_WARM, seen[-1][0] // 10)]
    slope = statistics.linear_regression([s for s, _ in warm], [mb for _, mb in warm]).slope
    return {
        "executions": seen[-1][0],
        "mb_at_start": round(seen[0][1], 1),
        "mb_when_warm": round(warm[0][1], 1),
        "mb_at_end": round(seen[-1][1], 1),
        "mb_greatest": round(max(mb for _, mb in seen), 1),
        "mb_per_100000_executions": round(slope * 100_000, 2),
        "samples": [[stored, round(mb, 1)] for stored, mb in seen[:: max(1, len(seen) // 40)]],
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--executions", type=int, default=100_000)
    parser.add_argument("--in-flight", type=int, default=256)
    options = parser.parse_args(arguments)
    report = Report("memory", arguments)
    with open_world() as world, children.endpoint() as endpoint:
        world.add_users(_USERS)
        world.add_instances(options.in_flight + SLOTS_PER_OWNER, endpoint.hosts)
        with children.worker(
            world.info, endpoint=endpoint, max_in_flight=options.in_flight
        ) as worker:
            started = time.monotonic()
            figures = summary(watch(world, worker, options.executions))
            figures["seconds"] = round(time.monotonic() - started)
    print({name: value for name, value in figures.items() if name != "samples"}, flush=True)
    report.write(figures, in_flight=options.in_flight)


if __name__ == "__main__":
    main()
