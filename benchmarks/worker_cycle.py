"""The complete worker against a bare client loop, in turns, at several numbers of calls in flight.

    python -m benchmarks.worker_cycle [--rounds 4] [--seconds 4] [--levels 0:256 0.9:256 …]

The worker claims, makes both hops, and has its outcomes stored, through gateway and PostgREST. The
bare loop makes both hops, with the same signed bodies. Both call the same endpoint process. A level
is the median time of a run there and the number of calls in flight: no time at all asks what the
processors can do; 0.9 s is what Apps Script takes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks import children
from benchmarks.neighbours import rounds
from benchmarks.results import Report, median, spread
from benchmarks.usage import cpu_of_parts
from benchmarks.world import SLOTS_PER_OWNER, World, open_world

_MOST_PER_SECOND = 2500
"""The backlog is filled for this rate, so that it never runs out within a round."""
_USERS = 1000
_LEVELS = ("0:16", "0:64", "0:256", "0.9:16", "0.9:64", "0.9:256", "0.9:1000")


@dataclass(frozen=True)
class Sample:
    """One side of one round."""

    rate: float
    """Executions per second."""
    cpu_ms: dict[str, float]
    """Processor milliseconds per execution, by process."""


def sample(executions: float, seconds: float, cpu: dict[str, float]) -> Sample:
    each = {name: used * 1000 / max(executions, 1) for name, used in cpu.items()}
    return Sample(executions / seconds, each)


def bare_sample(url: str, world: World, in_flight: int, seconds: float, warm_up: float) -> Sample:
    found = children.run_bare_loop(
        url, world.request_body(), in_flight=in_flight, seconds=seconds, warm_up=warm_up
    )
    return sample(found["executions"], found["seconds"], {"bare loop": found["cpu_seconds"]})


def worker_sample(
    world: World,
    worker: children.Worker,
    pids: dict[str, int],
    in_flight: int,
    seconds: float,
    warm_up: float,
) -> Sample:
    """Measured for `seconds` once it is warm; afterwards everything in flight ends."""
    before = worker.stored()
    world.resume()
    children.wait_for(lambda: worker.stored() >= before + in_flight, "the worker works")
    time.sleep(warm_up)
    stored, wall, cpu = worker.stored(), time.perf_counter(), cpu_of_parts(pids)
    time.sleep(seconds)
    executions, passed = worker.stored() - stored, time.perf_counter() - wall
    used = {name: value - cpu[name] for name, value in cpu_of_parts(pids).items()}
    left = world.available()
    world.pause()
    children.wait_for(lambda: world.running() == 0, "what is in flight ends")
    if not left:
        raise RuntimeError("the backlog ran out within a round: _MOST_PER_SECOND is too small")
    return sample(executions, passed, used)


def level(
    world: World, *, in_flight: int, run_seconds: float, count: int, seconds: float
) -> dict[str, Any]:
    """Both sides in turns, with one worker process for all rounds."""
    warm_up = 0.5 + 2 * run_seconds
    with children.endpoint(run_seconds=run_seconds) as endpoint:
        world.no_instances()
        url = world.add_instances(in_flight + SLOTS_PER_OWNER, endpoint.hosts)
        world.pause()
        with children.worker(world.info, endpoint=endpoint, max_in_flight=in_flight) as worker:
            pids = {"worker": worker.pid, "endpoint": endpoint.pid, **world.info.pids}

            def one_round() -> tuple[Sample, Sample]:
                world.fill(int(_MOST_PER_SECOND * (seconds + warm_up + 1)))
                bare = bare_sample(url, world, in_flight, seconds, warm_up)
                return bare, worker_sample(world, worker, pids, in_flight, seconds, warm_up)

            pairs, others = rounds(count, one_round, pids)
            stored = worker.stored()
    recorded = world.succeeded()
    if recorded != stored:
        raise RuntimeError(f"the worker counted {stored} successes, the queue has {recorded}")
    world.empty()
    return {
        "in_flight": in_flight,
        "run_seconds": run_seconds,
        **compare(pairs),
        "cores_share_of_others": others,
    }


def compare(pairs: list[tuple[Sample, Sample]]) -> dict[str, Any]:
    """The figures of one level: ratios are of the same round, and medians of those."""
    share = [worker.rate / bare.rate for bare, worker in pairs]
    dearer = [worker.cpu_ms["worker"] / bare.cpu_ms["bare loop"] for bare, worker in pairs]
    return {
        "worker_of_bare_loop": median(share, 3),
        "worker_of_bare_loop_spread": spread(share, 3),
        "worker_cpu_of_bare_loop_cpu": median(dearer, 2),
        "bare_loop": summary([bare for bare, _ in pairs]),
        "worker": summary([worker for _, worker in pairs]),
    }


def summary(samples: list[Sample]) -> dict[str, Any]:
    return {
        "executions_per_second": median([one.rate for one in samples]),
        "executions_per_second_by_round": [round(one.rate, 1) for one in samples],
        "cpu_ms_per_execution": {
            name: median([one.cpu_ms[name] for one in samples], 3) for name in samples[0].cpu_ms
        },
    }


def say(found: dict[str, Any]) -> None:
    worker, bare = found["worker"], found["bare_loop"]
    print(
        f"{found['in_flight']} in flight, runs take {found['run_seconds']:g} s:"
        f" worker {worker['executions_per_second']}/s, bare loop {bare['executions_per_second']}/s"
        f" = {found['worker_of_bare_loop']:.0%} {found['worker_of_bare_loop_spread']},"
        f" cpu x{found['worker_cpu_of_bare_loop_cpu']} {worker['cpu_ms_per_execution']}"
        f" others {found['cores_share_of_others']:.0%}",
        flush=True,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=4.0, help="measured time of a round")
    parser.add_argument("--levels", nargs="*", default=_LEVELS, metavar="RUN_SECONDS:IN_FLIGHT")
    options = parser.parse_args(arguments)
    report = Report("worker_cycle", arguments)
    figures = []
    with open_world() as world:
        world.add_users(_USERS)
        for run_seconds, in_flight in (each.split(":") for each in options.levels):
            takes_time = float(run_seconds) > 0
            found = level(
                world,
                in_flight=int(in_flight),
                run_seconds=float(run_seconds),
                # Runs of a second are few, and steady: fewer and longer rounds.
                count=max(1, options.rounds // 2) if takes_time else options.rounds,
                seconds=options.seconds * (2.5 if takes_time else 1),
            )
            figures.append(found)
            say(found)
    report.write(figures)


if __name__ == "__main__":
    main()
