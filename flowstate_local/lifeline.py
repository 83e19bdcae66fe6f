"""A throw-away stack ends with the process that made it, however that one ends.

A killed process runs no clean-up. So a helper process holds the reading end of a pipe whose
writing end only the maker has; when the system closes that, the helper destroys the stack.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from flowstate_local import processes, project

# Bare Python while it waits: nothing is imported before it is needed.
_HELPER = """
import sys
sys.stdin.buffer.read()  # returns when the maker is gone
from pathlib import Path
from flowstate_local.removal import remove_stack
remove_stack(Path(sys.argv[1]), throw_away=True)
"""


class Lifeline:
    """Ties the stack in `directory` to this process for the block."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __enter__(self) -> Self:
        reading, self._writing = os.pipe()
        try:
            with os.fdopen(reading, "rb") as stdin:
                self._helper = processes.spawn(
                    [sys.executable, "-c", _HELPER, self._directory],
                    log=Path(os.devnull),
                    environment={
                        "PATH": os.environ.get("PATH", ""),
                        "PYTHONPATH": str(project.ROOT),
                    },
                    directory=Path("/"),
                    stdin=stdin,
                )
        except BaseException:
            os.close(self._writing)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # The stack is gone by now: the helper finds no folder and ends.
        os.close(self._writing)
        processes.wait_until_gone(self._helper, seconds=10)


@contextmanager
def unwinding_on_sigterm() -> Iterator[None]:
    """SIGTERM ends the block by SystemExit, so that clean-up runs; a handler of others stays."""
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    ):
        yield
        return

    def unwind(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, unwind)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
