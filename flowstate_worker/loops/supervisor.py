"""Runs the background loops and notices when one dies."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from flowstate_worker.errors import LoopDied
from flowstate_worker.logs import get_logger

_log = get_logger(__name__)


class Supervisor:
    """Loops live as long as the worker. One that ends before `stopping` is set is a defect."""

    def __init__(self) -> None:
        self.stopping = False
        self._loops: dict[str, asyncio.Task[None]] = {}
        self._died: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def start(self, name: str, loop: Coroutine[Any, Any, None]) -> None:
        running = asyncio.create_task(loop, name=name)
        running.add_done_callback(self._ended)
        self._loops[name] = running

    def alive(self) -> dict[str, bool]:
        """Per loop: does it run?"""
        return {name: not loop.done() for name, loop in self._loops.items()}

    def report(self, name: str, error: BaseException) -> None:
        """A part of the worker failed that must not fail."""
        if not self._died.done():
            _log.critical("loop_died", loop=name, exc_info=error)
            died = LoopDied(name, type(error).__name__)
            died.__cause__ = error
            self._died.set_exception(died)

    async def guard(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` to its end. Raises LoopDied as soon as a loop dies, and drops the work."""
        guarded = asyncio.create_task(work)
        try:
            await asyncio.wait({guarded, self._died}, return_when=asyncio.FIRST_COMPLETED)
            if self._died.done():
                self._died.result()
            guarded.result()
        finally:
            guarded.cancel()

    async def joined(self, name: str) -> None:
        """Wait until that loop has ended."""
        await asyncio.wait({self._loops[name]})

    async def stop(self) -> None:
        """Cancel all loops and wait for them."""
        self.stopping = True
        for loop in self._loops.values():
            loop.cancel()
        await asyncio.gather(*self._loops.values(), return_exceptions=True)
        if self._died.done():
            self._died.exception()  # seen: the worker has raised it or is past caring

    def _ended(self, loop: asyncio.Task[None]) -> None:
        if loop.cancelled():
            error: BaseException | None = None if self.stopping else asyncio.CancelledError()
        else:
            error = loop.exception()
            if error is None and not self.stopping:
                error = RuntimeError("it returned")
        if error is not None:
            self.report(loop.get_name(), error)
