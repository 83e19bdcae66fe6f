"""A worker, one of whose loops dies as soon as the worker holds an execution.

`python -m tests.faults.dying_worker <loop>`; the loop is one of LOOPS. It raises what a defect
would raise; nothing else of the worker is touched.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from flowstate_worker import __main__ as program
from flowstate_worker.loops.claimer import Claimer
from flowstate_worker.loops.finisher import Finisher
from flowstate_worker.loops.lease_keeper import LeaseKeeper
from flowstate_worker.loops.leases import Attempt, LeaseBook
from flowstate_worker.loops.maintenance import Housekeeping, Rescue
from flowstate_worker.loops.wake_ups import WakeUps

LOOPS: dict[str, type[Any]] = {
    "finisher": Finisher,
    "lease_keeper": LeaseKeeper,
    "claimer": Claimer,
    "rescue": Rescue,
    "housekeeping": Housekeeping,
    "wake_ups": WakeUps,
}


def main() -> int:
    held = asyncio.Event()
    loop = LOOPS[sys.argv[1]]
    add, run = LeaseBook.add, loop.run

    def note(self: LeaseBook, attempt: Attempt) -> None:
        add(self, attempt)
        held.set()

    async def die(self: Any) -> None:
        running = asyncio.create_task(run(self))
        await held.wait()
        running.cancel()
        raise ZeroDivisionError("a defect")

    LeaseBook.add = note  # type: ignore[method-assign]
    loop.run = die
    return program.main()


if __name__ == "__main__":
    sys.exit(main())
