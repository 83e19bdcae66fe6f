"""Wake-ups that stop coming: polling finds the work."""

from __future__ import annotations

import pytest

from tests.faults.proxy import Proxy
from tests.faults.waiting import until
from tests.faults.worker_process import WorkerProcess
from tests.faults.world import World
from tests.sql.driver import User


@pytest.mark.parametrize("drop", [True, False], ids=["dropped", "half-open"])
def test_work_is_found_by_polling_when_realtime_is_silent(
    world: World, proxy: Proxy, drop: bool
) -> None:
    worker = world.worker(supabase_url=proxy.url, realtime="true").wait_ready()
    user = world.user()
    # First make sure that wake-ups do come, or their silence would prove nothing.
    until(lambda: woken(world, worker, user), "a wake-up arrives", told=worker.told)
    # Nothing may be left to finish: a stored outcome makes a worker look as well.
    world.check()
    until(lambda: not worker.counter("in_flight"), "the worker is idle")
    proxy.silence("/realtime/", drop=drop)
    if drop:
        worker.wait_logged("wake_ups_silent")
    heard = worker.counter("wakeups_total")
    world.enqueue(user, 5)
    world.check()
    assert worker.counter("wakeups_total") == heard


def woken(world: World, worker: WorkerProcess, user: User) -> bool:
    world.enqueue(user)
    return worker.counter("wakeups_total") > 0
