"""A loop that ends by itself ends the worker; one that ends because it was told to does not."""

import asyncio

import pytest

from flowstate_worker.errors import LoopDied
from flowstate_worker.loops.supervisor import Supervisor


async def returns() -> None:
    await asyncio.sleep(0)


async def raises() -> None:
    raise ZeroDivisionError


async def lasts() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("loop", [returns, raises])
async def test_a_loop_that_ends_by_itself_ends_the_work(loop: object) -> None:
    supervisor = Supervisor()
    supervisor.start("steady", lasts())
    supervisor.start("brief", loop())  # type: ignore[operator]
    with pytest.raises(LoopDied, match="brief"):
        await asyncio.wait_for(supervisor.guard(lasts()), 5)
    assert supervisor.alive() == {"steady": True, "brief": False}
    await supervisor.stop()
    assert supervisor.alive() == {"steady": False, "brief": False}


async def test_a_loop_that_was_told_to_end_is_no_defect() -> None:
    supervisor = Supervisor()
    supervisor.start("brief", returns())
    supervisor.stopping = True
    await supervisor.guard(supervisor.joined("brief"))
    await supervisor.stop()


async def test_a_loop_that_fails_while_stopping_is_still_a_defect() -> None:
    supervisor = Supervisor()
    supervisor.stopping = True
    supervisor.start("brief", raises())
    with pytest.raises(LoopDied, match="brief"):
        await asyncio.wait_for(supervisor.guard(lasts()), 5)
    await supervisor.stop()
