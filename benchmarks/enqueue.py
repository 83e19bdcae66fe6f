"""Enqueue per second with limits on, 10,000 users: one by one from 16 callers, and in bulk.

    python -m benchmarks.enqueue [--rounds 3] [--seconds 4] [--users 10000] [--callers 16]

Directly in SQL. Single: `enqueue_flow_execution` as the signed-in user, each call a transaction of
its own, each caller a connection, a random user every time. Bulk: `enqueue_flow_executions` with
1,000 items of as many users, on 1 and 2 connections. All users are on the tier pro (30 an hour, 200
a day); inputs have 500 bytes; commits reach the disk. Nothing claims meanwhile.
"""

from __future__ import annotations

import argparse
import json
import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import psycopg

from benchmarks.neighbours import rounds
from benchmarks.results import Report, median, percentile, spread
from benchmarks.usage import cpu_of_parts
from benchmarks.world import INPUT, World, open_world

_BULK = 1000
_SINGLE = (
    "with caller as materialized (select set_config('request.jwt.claims', %s, true))"
    " select public.enqueue_flow_execution(%s, %s) from caller"
)
_MANY = "select refused from public.enqueue_flow_executions(%s)"
_INPUT = json.dumps(INPUT)

Flow = tuple[str, str]
"""User and flow."""


@dataclass
class Tally:
    """What one caller did."""

    accepted: int = 0
    refused: int = 0
    call_ms: list[float] = field(default_factory=list)


Call = Callable[["psycopg.Connection[Any]", random.Random, Tally], None]


def one_by_one(flows: list[Flow]) -> Call:
    def call(connection: psycopg.Connection[Any], chance: random.Random, tally: Tally) -> None:
        user, flow = chance.choice(flows)
        claims = json.dumps({"role": "authenticated", "sub": user})
        try:
            connection.execute(_SINGLE, (claims, flow, _INPUT))
            tally.accepted += 1
        except psycopg.Error as error:
            if error.sqlstate != "PGRST":
                raise
            tally.refused += 1

    return call


def in_bulk(flows: list[Flow]) -> Call:
    """Batches of users picked at random: those of two callers meet in some, and wait there."""

    def call(connection: psycopg.Connection[Any], chance: random.Random, tally: Tally) -> None:
        items = [{"flow_id": flow, "input": INPUT} for _, flow in chance.sample(flows, _BULK)]
        answers = connection.execute(_MANY, (json.dumps(items),)).fetchall()
        refused = sum(reason is not None for (reason,) in answers)
        tally.accepted += len(answers) - refused
        tally.refused += refused

    return call


def in_shares(shares: list[list[Flow]]) -> Call:
    """The same, each caller with users of its own, as one shares out work among processes."""
    calls, mine = [in_bulk(share) for share in shares], threading.local()
    turns = iter(calls)

    def call(connection: psycopg.Connection[Any], chance: random.Random, tally: Tally) -> None:
        if not hasattr(mine, "call"):
            mine.call = next(turns)
        mine.call(connection, chance, tally)

    return call


def run(world: World, call: Call, role: str, callers: int, seconds: float) -> dict[str, Any]:
    """One round on an empty queue. Each connection has its plans before the clock starts."""
    world.empty()
    start = threading.Barrier(callers + 1)
    stop = threading.Event()

    def caller(seed: int) -> Tally:
        chance, tally = random.Random(seed), Tally()
        with psycopg.connect(world.info.db_url, autocommit=True, prepare_threshold=0) as connection:
            connection.execute(f"set role {role}".encode())
            for _ in range(3):
                call(connection, chance, Tally())
            start.wait()
            while not stop.is_set():
                began = time.perf_counter()
                call(connection, chance, tally)
                tally.call_ms.append(1000 * (time.perf_counter() - began))
        return tally

    with ThreadPoolExecutor(callers) as pool:
        tallies = [pool.submit(caller, seed) for seed in range(callers)]
        start.wait()
        cpu, own, wall = cpu_of_parts(world.info.pids), time.process_time(), time.perf_counter()
        time.sleep(seconds)
        passed = time.perf_counter() - wall
        used = {name: value - cpu[name] for name, value in cpu_of_parts(world.info.pids).items()}
        used["client"] = time.process_time() - own
        stop.set()
        found = [tally.result() for tally in tallies]
    accepted = sum(tally.accepted for tally in found)
    calls = [ms for tally in found for ms in tally.call_ms]
    return {
        "rate": accepted / passed,
        "refused": sum(tally.refused for tally in found),
        "p50": percentile(calls, 0.5),
        "p99": percentile(calls, 0.99),
        "cpu_us": {name: 1e6 * value / accepted for name, value in used.items()},
    }


def summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    rates = [one["rate"] for one in found]
    return {
        "executions_per_second": median(rates, 0),
        "executions_per_second_spread": spread(rates, 0),
        "refused": sum(one["refused"] for one in found),
        "call_ms_p50": median([one["p50"] for one in found], 1),
        "call_ms_p99": median([one["p99"] for one in found], 1),
        "cpu_us_per_execution": {
            name: median([one["cpu_us"][name] for one in found], 0) for name in found[0]["cpu_us"]
        },
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--callers", type=int, default=16)
    options = parser.parse_args(arguments)
    report = Report("enqueue", arguments)
    figures = []
    with open_world(("postgres",)) as world:
        world.add_users(options.users, tier="pro")
        world.do("select public.maintain_queue()")
        world.do("vacuum (analyze)")
        flows = [
            (str(user), str(flow))
            for user, flow in world.rows("select user_id, id from public.flows")
        ]
        ways = (
            ("single", one_by_one(flows), "authenticated", options.callers),
            ("bulk", in_bulk(flows), "service_role", 1),
            ("bulk", in_bulk(flows), "service_role", 2),
            ("bulk, users of their own", None, "service_role", 2),
        )
        for way, call, role, callers in ways:

            def one_round(
                call: Call | None = call, role: str = role, callers: int = callers
            ) -> dict[str, Any]:
                shares = [flows[n::callers] for n in range(callers)]
                return run(world, call or in_shares(shares), role, callers, options.seconds)

            found, others = rounds(options.rounds, one_round, world.info.pids)
            figures.append(
                {
                    "way": way,
                    "callers": callers,
                    **summary(found),
                    "cores_share_of_others": others,
                }
            )
            print(f"  {way}, {callers} callers: {figures[-1]['executions_per_second']:,.0f}/s")
    report.write(figures, users=options.users, items_in_bulk=_BULK)


if __name__ == "__main__":
    main()
