"""A page of 50 of a user's execution logs, of 10,000,000 rows and 100,000 users.

    python -m benchmarks.log_page [--rows 10000000] [--users 100000] [--samples 100] [--period week]

The rows lie in the last 30 days; then, as retention leaves it, those of one user in a hundred reach
back over a year. A page is asked for by the owner of the schema and by the user through row
security, in turn. At last whole weeks are rewritten. `--period day` tries other partitions than
FlowState's, and prints its figures only.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from benchmarks.long_history import KEEPERS, History
from benchmarks.neighbours import Watch, wait_for_quiet
from benchmarks.results import Report, median, percentile
from benchmarks.usage import exact_cpu_seconds
from benchmarks.week_rewrite import rewrites
from benchmarks.world import open_world

_DAYS, _YEAR, _DEEP = timedelta(days=30), timedelta(days=365), timedelta(days=20)
_REPEATS = 10

_TABLE = "select * from public.execution_logs where {who} and {when} order by finished_at desc"
_VIEW = _TABLE.replace("execution_logs", "flow_executions")


@dataclass(frozen=True)
class Way:
    """One way to ask for a page. `prepared`: planned once and kept, as PostgREST has it."""

    title: str
    role: str
    query: str
    names_user: bool = True
    prepared: bool = False

    @property
    def names_table(self) -> bool:
        return "{who}" in self.query

    def text(self, *, deep: bool) -> str:
        who = "user_id = %(user)s" if self.names_user else "true"
        return self.query.format(
            who=who,
            when="finished_at < %(before)s" if deep else "true",
            before="%(before)s" if deep else "null",
        )


OWNER = Way("owner of the schema", "postgres", f"{_TABLE} limit 50")
USER = Way("the user", "authenticated", f"{_TABLE} limit 50")
OWNER_PREPARED = replace(OWNER, title=f"{OWNER.title}, prepared", prepared=True)
USER_PREPARED = replace(USER, title=f"{USER.title}, prepared", prepared=True)
WAYS = (
    OWNER,
    USER,
    OWNER_PREPARED,
    USER_PREPARED,
    Way("the user, unnamed", "authenticated", f"{_TABLE} limit 50", names_user=False),
    Way(
        "`list_my_executions`",
        "authenticated",
        "select * from public.list_my_executions({before}, 50)",
    ),
    Way("`flow_executions`", "authenticated", f"{_VIEW} limit 50"),
)


class Asker:
    """A connection that asks in one way, as PostgREST would: claims and role, then the query.

    One for each way, because a prepared query is planned anew when another role asks.
    """

    def __init__(self, url: str, way: Way) -> None:
        self._way = way
        # Nothing is prepared by itself: what is not asked to be is planned anew each time.
        self._connection = psycopg.connect(url, autocommit=True, prepare_threshold=10**9)

    def close(self) -> None:
        self._connection.close()

    @property
    def cpu_seconds(self) -> float:
        """Processor time of the server's side of it."""
        return exact_cpu_seconds(self._connection.info.backend_pid)

    def ask(self, user: str, before: datetime | None) -> float:
        """Milliseconds of one page, from sending the query to its last row."""
        milliseconds, _ = self._run(user, before, "")
        return milliseconds

    def explain(self, user: str, before: datetime | None) -> tuple[float, float]:
        """Milliseconds of planning and of execution."""
        explain = "explain (analyze, timing off, buffers off, format json) "
        [[[plan]]] = self._run(user, before, explain)[1]
        return float(plan["Planning Time"]), float(plan["Execution Time"])

    def _run(self, user: str, before: datetime | None, prefix: str) -> tuple[float, list[Any]]:
        claims = json.dumps({"role": "authenticated", "sub": user})
        query = (prefix + self._way.text(deep=before is not None)).encode()
        values = {"user": user, "before": before}
        with self._connection.transaction():
            self._connection.execute(
                "select set_config('request.jwt.claims', %s, true), set_config('role', %s, true)",
                (claims, self._way.role),
            )
            started = time.perf_counter()
            rows = self._connection.execute(query, values, prepare=self._way.prepared).fetchall()
            return 1e3 * (time.perf_counter() - started), rows


@dataclass
class Found:
    """What one way took, for one user after the other, in milliseconds."""

    first: list[float] = field(default_factory=list)
    again: list[float] = field(default_factory=list)
    planning: list[float] = field(default_factory=list)
    execution: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    """Processor time of each page on the server: other programs change it less."""


def measure(url: str, users: Sequence[str], before: datetime | None) -> dict[Way, Found]:
    """All ways in turn for each user, so that a busy machine is busy for all of them.

    The least of some repeats is what counts for a user; the first look is noted apart.
    """
    askers = {way: Asker(url, way) for way in WAYS}
    seen = {way: Found() for way in WAYS}
    for user in users:
        for way, asker in askers.items():
            seen[way].first.append(asker.ask(user, before))
        repeats: dict[Way, list[float]] = {way: [] for way in WAYS}
        for _ in range(_REPEATS):
            for way, asker in askers.items():
                used = asker.cpu_seconds
                repeats[way].append(asker.ask(user, before))
                seen[way].cpu.append(1e3 * (asker.cpu_seconds - used))
        for way, asker in askers.items():
            planning, execution = min((asker.explain(user, before) for _ in range(3)), key=sum)
            seen[way].again.append(min(repeats[way]))
            seen[way].planning.append(planning)
            seen[way].execution.append(execution)
    for asker in askers.values():
        asker.close()
    return seen


def figure(way: Way, found: Found) -> dict[str, Any]:
    # What is planned within a function, or was planned before, EXPLAIN does not tell apart.
    apart = way.names_table and not way.prepared
    return {
        "way": way.title,
        "planning_ms": median(found.planning, 2) if apart else None,
        "execution_ms": median(found.execution, 2) if apart else None,
        "cpu_ms": median(found.cpu, 3),
        "page_ms": median(found.again, 2),
        "page_p99_ms": round(percentile(found.again, 0.99), 2),
        "first_look_p99_ms": round(percentile(found.first, 0.99), 2),
    }


def added(seen: dict[Way, Found], without: Way, through: Way) -> float:
    """What row security adds to the page of a user, as a share."""
    pairs = zip(seen[without].again, seen[through].again, strict=True)
    return median([through / without - 1 for without, through in pairs], 3)


def level(
    title: str, url: str, history: History, numbers: Sequence[int], now: datetime, pids: Any
) -> dict[str, Any]:
    """First and deep pages of users in one state of the history."""
    users = [history.user(number) for number in numbers]
    wait_for_quiet(pids)
    watch = Watch(pids)
    seen = {"first": measure(url, users, None), "deep": measure(url, users, now - _DEEP)}
    figures = {
        "level": title,
        "partitions": history.partitions(),
        "rows": history.rows(),
        "pages": {
            name: [figure(way, pages) for way, pages in ways.items()] for name, ways in seen.items()
        },
        "row_security_adds": {
            name: {
                "planned_anew": added(ways, OWNER, USER),
                "prepared": added(ways, OWNER_PREPARED, USER_PREPARED),
            }
            for name, ways in seen.items()
        },
        "cores_share_of_others": round(watch.others(), 2),
    }
    print(json.dumps(figures, indent=1), flush=True)
    return figures


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--period", choices=("day", "week", "month"), default="week")
    options = parser.parse_args(arguments)
    report = Report("log_page", arguments)
    now = datetime.now(UTC)
    with (
        open_world(("postgres",)) as world,
        psycopg.connect(world.info.db_url, autocommit=True) as connection,
    ):
        connection.execute("set synchronous_commit = off")
        connection.execute("set maintenance_work_mem = '512MB'")
        history = History(connection, options.users, options.period)
        history.clear()
        started = time.monotonic()
        begins = history.fill(now - _DAYS, now, options.rows)
        connection.execute("select private.maintain_partitions()")
        print(f"filled in {time.monotonic() - started:.0f} s", flush=True)
        spread = max(1, options.users // options.samples // KEEPERS) * KEEPERS
        anyone = [1 + n * spread for n in range(options.samples)]
        pids, url = world.info.pids, world.info.db_url
        figures = [level("30 days", url, history, anyone, now, pids)]
        before = (begins - (now - _YEAR)) / _DAYS
        history.fill(now - _YEAR, begins, round(options.rows / KEEPERS * before), step=KEEPERS)
        keepers = [spread * (n + 1) for n in range(options.samples)]
        figures.append(level("a year", url, history, keepers, now, pids))
        if options.period == "week":
            rewritten = rewrites(connection, begins)
            report.write(figures, users=options.users, period=options.period, rewritten=rewritten)


if __name__ == "__main__":
    main()
