"""Minutes of everything at once: three workers, a load, and a fault every moment, drawn by chance.

FLOWSTATE_CHAOS_SEED repeats the order of a run, FLOWSTATE_CHAOS_FAULTS makes it longer (60).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from random import Random

import pytest

from tests.faults.waiting import until
from tests.faults.worker_process import WorkerProcess
from tests.faults.world import World

_WORKERS = 3
# What goes wrong on the far side all the time: share of the calls.
_FAR_SIDE = {
    ("slow", "effect"): 0.3,
    ("slow", "claim"): 0.1,
    ("echo_lost", "bounce"): 0.05,
    ("network", "ran"): 0.03,
    ("http_5xx", "not_run"): 0.03,
    ("login", "redirect"): 0.03,
    ("concurrency", "page"): 0.03,
    ("wrong_execution_id", "ran"): 0.02,
}


class Chaos:
    """Faults of the near side, each of which leaves the world able to go on."""

    def __init__(self, world: World, rng: Random) -> None:
        self._world = world
        self._rng = rng
        self._ids: dict[WorkerProcess, str] = {}
        self.workers = [self._start().wait_ready() for _ in range(_WORKERS)]

    def strike(self) -> str:
        faults: list[Callable[[], None]] = [
            *[self.kill_a_worker] * 4,
            *[self.suspend_a_worker] * 3,
            *[self.replace_a_worker] * 2,
            self.kill_the_gateway,
            self.kill_postgrest,
            self.kill_postgres,
            self.end_all_connections,
        ]
        fault = self._rng.choice(faults)
        fault()
        return fault.__name__

    def kill_a_worker(self) -> None:
        victim = self._rng.randrange(_WORKERS)
        self.workers[victim].kill()
        self.workers[victim] = self._start()

    def suspend_a_worker(self) -> None:
        """For longer than its lease: until others have taken over what it held."""
        victim = self._rng.choice(self.workers)
        victim.send(signal.SIGSTOP)
        held = (
            "select count(*) from public.flow_execution_queue where processor_id = %s"
            " and state = 'running'"
        )
        until(
            lambda: self._world.queue.value(held, self._ids[victim]) == 0,
            "others take over what a suspended worker held",
        )
        victim.send(signal.SIGCONT)

    def replace_a_worker(self) -> None:
        victim = self._rng.randrange(_WORKERS)
        self.workers[victim].wait_ready().terminate()
        assert self.workers[victim].ended() == 0
        self.workers[victim] = self._start()

    def kill_the_gateway(self) -> None:
        self._kill("gateway")

    def kill_postgrest(self) -> None:
        self._kill("postgrest")

    def kill_postgres(self) -> None:
        self._kill("postgres")

    def end_all_connections(self) -> None:
        self._world.as_superuser(
            "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'authenticator'"
        )

    def _kill(self, part: str) -> None:
        self._world.stack.kill(part)
        self._world.start(part)

    def _start(self) -> WorkerProcess:
        processor_id = f"chaos-{len(self._ids)}"
        worker = self._world.worker(processor_id=processor_id)
        self._ids[worker] = processor_id
        return worker


@pytest.mark.slow
def test_minutes_of_chaos_lose_nothing_and_double_nothing(world: World) -> None:
    seed = int(os.environ.get("FLOWSTATE_CHAOS_SEED") or Random().randrange(1_000_000))
    print(f"FLOWSTATE_CHAOS_SEED={seed}")
    rng = Random(seed)
    for (category, variant), share in _FAR_SIDE.items():
        slow = {"ms": 600} if category == "slow" else {}
        world.simulator.inject(category, variant=variant, probability=share, ops=["run"], **slow)
    chaos = Chaos(world, rng)
    with world.load(users=5, max_attempts=25) as load:
        for number in range(int(os.environ.get("FLOWSTATE_CHAOS_FAULTS") or 60)):
            load.wait_accepted(rng.randrange(4, 40))
            world.wait_more_effects(rng.randrange(4, 40))
            print(number, chaos.strike())
    world.check(seconds=180)
    assert [worker.runs for worker in chaos.workers] == [True] * _WORKERS
