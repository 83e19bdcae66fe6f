"""What a worker costs that has nothing to do, and how soon it does what then comes.

    python -m benchmarks.idle [--seconds 60] [--woken 80] [--polled 20]

Cost: requests and transactions per second, and processor time, over a minute. Latency: from sending
the enqueue request to the call's arrival at the endpoint, for one execution at a time on an idle
worker; with Realtime, and with polling alone (default settings both).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from random import Random
from typing import Any

import httpx

from benchmarks import children
from benchmarks.neighbours import Watch, wait_for_quiet
from benchmarks.results import Report, percentile
from benchmarks.usage import cpu_of_parts, resident_mb
from benchmarks.world import INPUT, World, open_world

_SLOTS = 28
_WAKE_GAP_SECONDS = (1.0, 1.6)
_POLL_GAP_SECONDS = (4.5, 6.5)
"""Longer than it takes the pauses between polls to grow to their greatest again."""


def cost(world: World, seconds: float) -> dict[str, Any]:
    """A worker with default settings and an empty queue."""
    with (
        children.endpoint() as endpoint,
        children.worker(world.info, endpoint=endpoint) as worker,
    ):
        time.sleep(8.0)  # the first polls are close together
        pids = {"worker": worker.pid, **world.info.pids}
        wait_for_quiet(pids)
        polls, calls = worker.metric("polls_total"), world.api_calls()
        watch, cpu, transactions = Watch(pids), cpu_of_parts(pids), world.transactions()
        time.sleep(seconds)
        used = {name: value - cpu[name] for name, value in cpu_of_parts(pids).items()}
        others = watch.others()
        return {
            "seconds": seconds,
            "api_requests_per_second": {
                name: round((count - calls.get(name, 0)) / seconds, 2)
                for name, count in world.api_calls().items()
                if count > calls.get(name, 0)
            },
            "claims_per_second": round((worker.metric("polls_total") - polls) / seconds, 2),
            "transactions_per_second": round((world.transactions() - transactions) / seconds, 2),
            "percent_of_a_core": {
                name: round(100 * value / seconds, 2) for name, value in used.items()
            },
            "worker_mb": round(resident_mb(worker.pid), 1),
            "cores_share_of_others": round(others, 2),
        }


def latencies(
    world: World, samples: int, gap: tuple[float, float], **settings: Any
) -> dict[str, Any]:
    """Enqueue one, wait for its call, rest, and again."""
    rng = Random(7)
    flow_id = world.value("select id::text from public.flows limit 1")
    info = world.info
    headers = {"apikey": info.secret_key, "Authorization": f"Bearer {info.secret_key}"}
    sent: dict[str, float] = {}
    enqueued: list[float] = []
    with (
        children.endpoint(arrivals=True) as endpoint,
        httpx.Client(base_url=info.api_url, headers=headers, timeout=30) as http,
    ):
        world.no_instances()
        world.add_instances(_SLOTS, endpoint.hosts)
        with children.worker(info, endpoint=endpoint, **settings):
            for number in range(samples + 1):
                time.sleep(rng.uniform(*gap))
                item = {"flow_id": flow_id, "input": INPUT}
                at, clock = time.time(), time.perf_counter()
                answer = http.post("/rest/v1/rpc/enqueue_flow_executions", json={"items": [item]})
                answer.raise_for_status()
                if number:  # the first opens the connections
                    enqueued.append(time.perf_counter() - clock)
                    sent[answer.json()[0]["execution_id"]] = at
                children.wait_for(lambda: world.running() + world.available() == 0, "it ends")
            arrivals = endpoint.arrivals()
    waits = [1000 * (arrivals[execution_id] - at) for execution_id, at in sent.items()]
    return {
        "samples": samples,
        "p50_ms": round(percentile(waits, 0.5), 1),
        "p99_ms": round(percentile(waits, 0.99), 1),
        "greatest_ms": round(max(waits), 1),
        "of_which_the_enqueue_call_p50_ms": round(1000 * percentile(enqueued, 0.5), 1),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="of the idle minute")
    parser.add_argument("--woken", type=int, default=80, help="samples with Realtime")
    parser.add_argument("--polled", type=int, default=20, help="samples with polling alone")
    options = parser.parse_args(arguments)
    report = Report("idle", arguments)
    with open_world() as world:
        world.add_users(1)
        world.do("update public.subscription_tiers set hour_limit = null, day_limit = null")
        figures: dict[str, Any] = {"cost": cost(world, options.seconds)}
        print(figures, flush=True)
        figures["latency_with_realtime"] = latencies(world, options.woken, _WAKE_GAP_SECONDS)
        print(figures["latency_with_realtime"], flush=True)
        figures["latency_with_polling_alone"] = latencies(
            world, options.polled, _POLL_GAP_SECONDS, realtime="false"
        )
        print(figures["latency_with_polling_alone"], flush=True)
    report.write(figures)


if __name__ == "__main__":
    main()
