"""Claim and finish per second, in SQL and through the API, with 10,000 active users.

    python -m benchmarks.claim_finish [--rounds 3] [--seconds 3] [--users 10000] [--queued 40000]

SQL: the two functions on 1 and 2 direct connections. API: the Supabase client through gateway and
PostgREST, from one process. Every execution has 500 bytes of input and leaves a log row; commits
reach the disk. No call is made in between: this is what the queue itself can carry.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import orjson
import psycopg
from supabase import AsyncClient

from benchmarks.neighbours import rounds
from benchmarks.results import Report, median, spread
from benchmarks.usage import cpu_of_parts
from benchmarks.world import World, open_world
from flowstate_worker.clients.supabase_client import supabase_client

_SLOTS = 1400
"""50 owners with an instance each: more than what is in flight, so that slots do not bound."""
_RESULT = {"rows": {"output": [[f"Invoice {n}", "sender@example.com"] for n in range(8)]}}
_CLAIM = "select execution_id::text, attempt, lease_token::text"


@dataclass
class Tally:
    """What one connection did."""

    executions: int = 0
    claim_seconds: float = 0.0
    finish_seconds: float = 0.0

    def add(self, count: int, started: float, between: float) -> None:
        self.executions += count
        self.claim_seconds += between - started
        self.finish_seconds += time.perf_counter() - between


def outcome(execution_id: str, attempt: int, lease_token: str) -> dict[str, Any]:
    return {
        "execution_id": execution_id,
        "attempt": attempt,
        "lease_token": lease_token,
        "outcome": "succeeded",
        "breaker": "success",
        "result": _RESULT,
        "usage": {"mail": 0, "gmail": 1, "urlfetch": 0},
        "duration_ms": 900,
    }


def in_sql(world: World, batch: int, until: float) -> Tally:
    """One connection, one statement at a time, until that moment or until nothing is left."""
    tally = Tally()
    with psycopg.connect(world.info.db_url, autocommit=True) as connection:
        while time.perf_counter() < until:
            started = time.perf_counter()
            claimed = connection.execute(
                f"{_CLAIM} from public.claim_flow_executions('bench', %s, 60)".encode(), (batch,)
            ).fetchall()
            if not claimed:
                break
            between = time.perf_counter()
            results = orjson.dumps([outcome(*row) for row in claimed]).decode()
            answers = connection.execute(
                "select answer from public.finish_flow_executions(%s)", (results,)
            ).fetchall()
            check([answer for (answer,) in answers], len(claimed))
            tally.add(len(claimed), started, between)
    return tally


async def through_api(client: AsyncClient, batch: int, until: float) -> Tally:
    """One caller, one request at a time, until that moment or until nothing is left."""
    tally = Tally()
    arguments = {"processor_id": "bench", "max": batch, "lease_seconds": 60}
    while time.perf_counter() < until:
        started = time.perf_counter()
        claimed: Any = (await client.rpc("claim_flow_executions", arguments).execute()).data
        if not claimed:
            break
        between = time.perf_counter()
        results = [
            outcome(row["execution_id"], row["attempt"], row["lease_token"]) for row in claimed
        ]
        answers: Any = (
            await client.rpc("finish_flow_executions", {"results": results}).execute()
        ).data
        check([answer["answer"] for answer in answers], len(claimed))
        tally.add(len(claimed), started, between)
    return tally


def check(answers: list[str], expected: int) -> None:
    if answers != ["accepted"] * expected:
        raise RuntimeError(f"{expected} outcomes were sent, not all were accepted")


def run_sql(world: World, batch: int, connections: int, seconds: float) -> list[Tally]:
    until = time.perf_counter() + seconds
    with ThreadPoolExecutor(connections) as pool:
        return list(pool.map(lambda _: in_sql(world, batch, until), range(connections)))


def run_api(world: World, batch: int, connections: int, seconds: float) -> list[Tally]:
    async def run() -> list[Tally]:
        async with supabase_client(world.info.api_url, world.info.secret_key) as client:
            until = time.perf_counter() + seconds
            calls = (through_api(client, batch, until) for _ in range(connections))
            return await asyncio.gather(*calls)

    return asyncio.run(run())


Runner = Callable[[World, int, int, float], list[Tally]]


def measure(
    world: World, runner: Runner, batch: int, connections: int, seconds: float, queued: int
) -> dict[str, Any]:
    """One round, with a full backlog at its start."""
    world.fill(queued)
    pids = world.info.pids
    cpu, own, wall = cpu_of_parts(pids), time.process_time(), time.perf_counter()
    tallies = runner(world, batch, connections, seconds)
    passed = time.perf_counter() - wall
    done = sum(tally.executions for tally in tallies)
    used = {name: value - cpu[name] for name, value in cpu_of_parts(pids).items()}
    used["client"] = time.process_time() - own
    return {
        "rate": done / passed,
        "claim_us": 1e6 * sum(tally.claim_seconds for tally in tallies) / done,
        "finish_us": 1e6 * sum(tally.finish_seconds for tally in tallies) / done,
        "cpu_us": {name: 1e6 * value / done for name, value in used.items()},
    }


def summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    rates = [one["rate"] for one in found]
    return {
        "executions_per_second": median(rates, 0),
        "executions_per_second_spread": spread(rates, 0),
        "claim_us_per_execution": median([one["claim_us"] for one in found], 0),
        "finish_us_per_execution": median([one["finish_us"] for one in found], 0),
        "cpu_us_per_execution": {
            name: median([one["cpu_us"][name] for one in found], 0) for name in found[0]["cpu_us"]
        },
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--queued", type=int, default=40_000)
    options = parser.parse_args(arguments)
    runners: dict[str, tuple[Runner, list[int]]] = {
        "sql": (run_sql, [10, 100, 500]),
        "api": (run_api, [100, 500]),
    }
    report = Report("claim_finish", arguments)
    figures = []
    with open_world() as world:
        world.add_users(options.users, tier="pro")
        world.add_instances(_SLOTS, ["127.0.0.1:9"], per_owner=1)
        for way, (runner, batches) in runners.items():
            for batch in batches:
                for connections in (1, 2):

                    def one_round(
                        run: Runner = runner, size: int = batch, by: int = connections
                    ) -> dict[str, Any]:
                        return measure(world, run, size, by, options.seconds, options.queued)

                    found, others = rounds(options.rounds, one_round, world.info.pids)
                    figure = {
                        "way": way,
                        "batch": batch,
                        "connections": connections,
                        **summary(found),
                        "cores_share_of_others": others,
                    }
                    figures.append(figure)
                    print(figure, flush=True)
                    world.empty()
    report.write(figures, active_users=options.users, queued=options.queued)


if __name__ == "__main__":
    main()
