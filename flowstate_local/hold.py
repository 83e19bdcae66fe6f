"""One starter or stopper at a time on a stack's folder, across processes."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flowstate_local.errors import StackBusyError

_POLL_SECONDS = 0.05


@contextmanager
def hold(folder: Path, *, seconds: float = 180.0) -> Iterator[None]:
    """Hold `folder` (which must exist) for the block; wait up to `seconds` for another holder.

    The system lets go when the holder ends, however it ends: nothing stale can stay behind.

    Raises:
        StackBusyError: another process held it all the time.
    """
    deadline = time.monotonic() + seconds
    while True:
        descriptor = os.open(folder / ".hold", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # A holder that destroyed the stack removed the file that we waited for.
            if _is_still_there(folder / ".hold", descriptor):
                break
        except BlockingIOError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        if time.monotonic() > deadline:
            raise StackBusyError(
                f"another process is starting or stopping the stack in {folder} "
                f"and did not finish within {seconds:.0f} s"
            )
        time.sleep(_POLL_SECONDS)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        yield
    finally:
        os.close(descriptor)


def _is_still_there(path: Path, descriptor: int) -> bool:
    try:
        return path.stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False
