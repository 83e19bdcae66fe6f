"""Writes results/README.md: the figures of all benchmarks as tables, from their JSON files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from benchmarks.results import RESULTS, load

Content = dict[str, Any]

_HEAD = """# Results

Written by `make bench`; do not edit. What the figures mean, and how to size with them:
[docs/capacity.md](../../docs/capacity.md). Stack, worker and endpoint share one machine's cores.
Rates are medians; in brackets stand the least and the greatest round. *Others* is the share of all
cores that other programs had in the worst round that counts.
"""


def write() -> None:
    """A section for each benchmark that has been run."""
    sections = [_HEAD]
    for name, (title, body) in _SECTIONS.items():
        content = load(name)
        if content:
            sections.append(f"## {title}\n{_where(content)}\n\n{body(content)}")
    (RESULTS / "README.md").write_text("\n".join(sections))


def _where(content: Content) -> str:
    machine = content["machine"]
    return (
        f"`{content['command']}`, {content['date']}: {machine['processor']},"
        f" {machine['cores']} cores, {machine['memory_gb']} GB, {machine['system']},"
        f" Python {machine['python']}."
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(str(cell) for cell in line)} |\n" for line in lines)


def _range(values: Sequence[float], times: float = 1) -> str:
    return f" [{values[0] * times:,.0f}, {values[1] * times:,.0f}]"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _worker_cycle(content: Content) -> str:
    rates = _table(
        ["runs take", "in flight", "worker", "bare loop", "worker of bare loop", "others"],
        (
            [
                f"{one['run_seconds']:g} s",
                one["in_flight"],
                f"{one['worker']['executions_per_second']:,}/s",
                f"{one['bare_loop']['executions_per_second']:,}/s",
                _percent(one["worker_of_bare_loop"])
                + _range(one["worker_of_bare_loop_spread"], 100),
                _percent(one["cores_share_of_others"]),
            ]
            for one in content["figures"]
        ),
    )
    parts = ["worker", "endpoint", "gateway", "postgrest", "postgres"]
    cpu = _table(
        ["runs take", "in flight", "bare loop", *parts, "worker : bare loop"],
        (
            [
                f"{one['run_seconds']:g} s",
                one["in_flight"],
                one["bare_loop"]["cpu_ms_per_execution"]["bare loop"],
                *(one["worker"]["cpu_ms_per_execution"][part] for part in parts),
                one["worker_cpu_of_bare_loop_cpu"],
            ]
            for one in content["figures"]
        ),
    )
    return f"{rates}\nProcessor milliseconds per execution:\n\n{cpu}"


def _simulated(content: Content) -> str:
    one = content["figures"]
    cpu = ", ".join(f"{name} {value}" for name, value in one["cpu_ms_per_execution"].items())
    return (
        f"{one['executions_per_second']:,} executions a second at {one['in_flight']} in flight;"
        f" processor milliseconds per execution: {cpu}."
        f" Others: {_percent(one['cores_share_of_others'])}.\n"
    )


def _claim_finish(content: Content) -> str:
    return (
        f"{content['active_users']:,} active users, {content['queued']:,} queued at the start of"
        " each round, 500 bytes of input, a log row each, synchronous commits.\n\n"
    ) + _table(
        ["way", "batch", "connections", "executions", "claim", "finish", "Postgres CPU", "others"],
        (
            [
                "SQL" if one["way"] == "sql" else "API",
                one["batch"],
                one["connections"],
                f"{one['executions_per_second']:,.0f}/s"
                + _range(one["executions_per_second_spread"]),
                f"{one['claim_us_per_execution']:g} µs",
                f"{one['finish_us_per_execution']:g} µs",
                f"{one['cpu_us_per_execution']['postgres']:g} µs",
                _percent(one["cores_share_of_others"]),
            ]
            for one in content["figures"]
        ),
    )


def _enqueue(content: Content) -> str:
    return (
        f"{content['users']:,} users with limits, 500 bytes of input, synchronous commits. Bulk"
        f" calls have {content['items_in_bulk']:,} items.\n\n"
    ) + _table(
        ["calls", "callers", "accepted", "a call", "p99", "Postgres CPU", "others"],
        (
            [
                one["way"],
                one["callers"],
                f"{one['executions_per_second']:,.0f}/s"
                + _range(one["executions_per_second_spread"]),
                f"{one['call_ms_p50']:g} ms",
                f"{one['call_ms_p99']:g} ms",
                f"{one['cpu_us_per_execution']['postgres']:g} µs",
                _percent(one["cores_share_of_others"]),
            ]
            for one in content["figures"]
        ),
    )


def _log_page(content: Content) -> str:
    parts = []
    for one in content["figures"]:
        rows = (
            [
                page,
                figure["way"],
                *(
                    "" if figure[name] is None else f"{figure[name]:g} ms"
                    for name in ("planning_ms", "execution_ms")
                ),
                f"{figure['cpu_ms']:g} ms",
                f"{figure['page_ms']:g} ms",
                f"{figure['page_p99_ms']:g} ms",
                f"{figure['first_look_p99_ms']:g} ms",
            ]
            for page, figures in one["pages"].items()
            for figure in figures
        )
        adds = ", ".join(
            f"{_percent(share)} to a {page} page {how.replace('_', ' ')}"
            for page, shares in one["row_security_adds"].items()
            for how, share in shares.items()
        )
        parts.append(
            f"**{one['level'].capitalize()}**: {one['rows']:,} rows in {one['partitions']}"
            f" partitions. Row security adds {adds}."
            f" Others: {_percent(one['cores_share_of_others'])}.\n\n"
            + _table(
                [
                    "page",
                    "asked by",
                    "planning",
                    "execution",
                    "CPU",
                    "page",
                    "p99",
                    "first look, p99",
                ],
                rows,
            )
        )
    rewritten = _table(
        ["a week of", "of which stay", "calls of housekeeping", "longest", "exchange"],
        (
            [
                f"{week['rows']:,} rows, {week['mb']} MB",
                f"{week['rows_kept']:,}",
                f"{week['calls']}, {week['seconds']:g} s",
                f"{week['longest_call_seconds']:g} s",
                f"{week['exchange_ms']:g} ms",
            ]
            for week in content["rewritten"]
        ),
    )
    return "\n".join([*parts, f"Removing a tier that is past its retention:\n\n{rewritten}"])


def _memory(content: Content) -> str:
    one = content["figures"]
    return _table(
        ["executions", "start", "warm", "end", "greatest", "growth per 100,000, once warm"],
        [
            [
                f"{one['executions']:,}",
                *(f"{one[name]:g} MB" for name in ("mb_at_start", "mb_when_warm", "mb_at_end")),
                f"{one['mb_greatest']:g} MB",
                f"{one['mb_per_100000_executions']:g} MB",
            ]
        ],
    )


def _idle(content: Content) -> str:
    cost = content["figures"]["cost"]
    calls = sum(cost["api_requests_per_second"].values())
    cpu = ", ".join(f"{name} {value:g} %" for name, value in cost["percent_of_a_core"].items())
    latency = _table(
        ["from the enqueue request to the call", "samples", "median", "p99", "greatest"],
        (
            [title, one["samples"], *(f"{one[name]:g} ms" for name in _LATENCY)]
            for title, one in (
                ("with Realtime", content["figures"]["latency_with_realtime"]),
                ("with polling alone", content["figures"]["latency_with_polling_alone"]),
            )
        ),
    )
    return (
        f"An idle worker: {calls:.2f} API requests a second ({cost['claims_per_second']:g} of them"
        f" claims), {cost['transactions_per_second']:g} transactions a second,"
        f" {cost['worker_mb']:g} MB; of a core: {cpu}.\n\n{latency}"
    )


_LATENCY = ("p50_ms", "p99_ms", "greatest_ms")

_SECTIONS: dict[str, tuple[str, Callable[[Content], str]]] = {
    "worker_cycle": ("The worker against a bare client loop", _worker_cycle),
    "simulated": ("The worker against the simulator", _simulated),
    "claim_finish": ("Claim and finish", _claim_finish),
    "enqueue": ("Enqueue with limits on", _enqueue),
    "log_page": ("A page of a user's logs", _log_page),
    "memory": ("Memory", _memory),
    "idle": ("Idle", _idle),
}
