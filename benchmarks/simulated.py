"""The complete worker against the simulator, which runs the real Code.gs: a figure for reference.

    python -m benchmarks.simulated [--seconds 10] [--in-flight 64]

Its scripts wait for nothing, but running one takes about as much of a processor as the worker does.
So this says what tests and the demo can do, and not what the worker can.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

from benchmarks import children
from benchmarks.neighbours import Watch, wait_for_quiet
from benchmarks.results import Report
from benchmarks.usage import cpu_of_parts
from benchmarks.world import SLOTS_PER_OWNER, World, open_world

_INSTANCES = 5
"""Those that every local stack has."""
_OWNERS = 3
_MOST_PER_SECOND = 1500


def register(world: World) -> None:
    """Tell the queue of the simulator's instances."""
    host = urlsplit(world.info.simulator_url).netloc
    world.do(
        "update public.load_balancer_config"
        " set allowed_hosts = allowed_hosts || %s, global_max_in_flight = 100000",
        [host],
    )
    for number in range(1, _INSTANCES + 1):
        owner = f"owner-{number % _OWNERS}@example.com"
        world.do(
            "insert into public.apps_script_owners (owner, max_in_flight) values (%s, %s)"
            " on conflict do nothing",
            owner,
            SLOTS_PER_OWNER,
        )
        world.do(
            "insert into public.apps_script_instances (name, owner, url, max_in_flight)"
            " values (%s, %s, %s, %s)",
            f"local-{number}",
            owner,
            f"http://{host}/macros/s/AKfycb-local-{number}/exec",
            SLOTS_PER_OWNER,
        )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--in-flight", type=int, default=64, help="at most 84: three owners")
    options = parser.parse_args(arguments)
    report = Report("simulated", arguments)
    with open_world(("postgres", "postgrest", "simulator", "gateway")) as world:
        world.add_users(500)
        register(world)
        world.fill(int(_MOST_PER_SECOND * (options.seconds + 4)))
        wait_for_quiet(world.info.pids)
        with children.worker(world.info, max_in_flight=options.in_flight) as worker:
            children.wait_for(lambda: worker.stored() > 500, "the worker works")
            pids = {"worker": worker.pid, **world.info.pids}
            watch = Watch(pids)
            stored, wall, cpu = worker.stored(), time.perf_counter(), cpu_of_parts(pids)
            time.sleep(options.seconds)
            executions, passed = worker.stored() - stored, time.perf_counter() - wall
            used = {name: value - cpu[name] for name, value in cpu_of_parts(pids).items()}
            others = watch.others()
            failed = worker.metric("executions_total") - worker.metric(
                "executions_total", outcome="succeeded"
            )
    figures = {
        "in_flight": options.in_flight,
        "executions_per_second": round(executions / passed, 1),
        "cpu_ms_per_execution": {
            name: round(1000 * value / executions, 3) for name, value in used.items()
        },
        "unsuccessful_attempts": int(failed),
        "cores_share_of_others": round(others, 2),
    }
    print(figures, flush=True)
    report.write(figures)


if __name__ == "__main__":
    main()
