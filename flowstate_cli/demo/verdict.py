"""What became of every accepted execution: the queue's history held against the ledger.

An execution is lost when it has no final state after the queue has drained, and also when it is
called succeeded although the ledger does not know a trace that its flow always leaves.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from flowstate_cli.api import Api
from flowstate_cli.demo.plan import TIERS, Ask
from flowstate_cli.demo.simulator import Ledger

Row = Mapping[str, Any]

_COLUMNS = (
    "execution_id, attempt, tier, flow_name, outcome, is_final, category, instance_name, "
    "queued_at, started_at, finished_at, duration_ms"
)
_PAGE = 1000


@dataclass
class TierFigures:
    """Executions of one tier's users. Waits are seconds from being queued to the first start."""

    accepted: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    waits: list[float] = field(default_factory=list)


@dataclass
class Verdict:
    """The figures of a demo."""

    accepted: int
    outcomes: Counter[str]
    lost: list[str]
    """Execution ids."""
    retried: int
    """Executions that were tried more than once."""
    waits: list[float]
    seconds: float
    """From the first execution queued to the last one finished."""
    tiers: dict[str, TierFigures]
    succeeded_by_instance: Counter[str]
    story: list[Row]
    """All attempts of one execution worth showing; empty when nothing succeeded."""

    @property
    def finals(self) -> int:
        return self.outcomes.total()


def read_history(api: Api) -> list[Row]:
    """All rows of execution_logs, oldest first."""
    rows: list[Row] = []
    while True:
        query = (
            api.table("execution_logs")
            .select(_COLUMNS)
            .order("finished_at")
            .order("execution_id")
            .order("attempt")
            .range(len(rows), len(rows) + _PAGE - 1)
        )
        page = api.rows(query)
        rows.extend(page)
        if len(page) < _PAGE:
            return rows


def judge(accepted: Mapping[str, Ask], history: Iterable[Row], ledger: Ledger) -> Verdict:
    """The verdict over all `accepted` executions, by id."""
    attempts: defaultdict[str, list[Row]] = defaultdict(list)
    for row in history:
        attempts[row["execution_id"]].append(row)
    tiers = {tier: TierFigures() for tier in TIERS}
    verdict = Verdict(
        accepted=len(accepted),
        outcomes=Counter(),
        lost=[],
        retried=0,
        waits=[],
        seconds=_span(attempts.values()),
        tiers=tiers,
        succeeded_by_instance=Counter(),
        story=_best_story(attempts.values()),
    )
    for execution_id, ask in accepted.items():
        tier = tiers[ask.person.tier]
        tier.accepted += 1
        tried = attempts.get(execution_id, [])
        final = next((row for row in tried if row["is_final"]), None)
        if final is None:
            verdict.lost.append(execution_id)
            continue
        outcome = final["outcome"]
        verdict.outcomes[outcome] += 1
        tier.outcomes[outcome] += 1
        verdict.retried += len(tried) > 1
        waited = (min(map(_started_at, tried)) - _moment(final, "queued_at")).total_seconds()
        verdict.waits.append(waited)
        tier.waits.append(waited)
        if outcome == "succeeded":
            verdict.succeeded_by_instance[final["instance_name"]] += 1
            if not ask.kind.traces <= ledger.steps_done.get(execution_id, set()):
                verdict.lost.append(execution_id)
    return verdict


def percentile(values: Sequence[float], share: float) -> float | None:
    """The value that `share` (0 to 1) of `values` do not exceed; None of nothing."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(len(values) * share) - 1)]


def _best_story(executions: Iterable[list[Row]]) -> list[Row]:
    """The one with the most attempts, of those that ended well."""
    done = [rows for rows in executions if rows[-1]["outcome"] == "succeeded"]
    return max(done, key=len, default=[])


def _span(executions: Iterable[list[Row]]) -> float:
    rows = [row for rows in executions for row in rows]
    if not rows:
        return 0.0
    first = min(_moment(row, "queued_at") for row in rows)
    return (max(_moment(row, "finished_at") for row in rows) - first).total_seconds()


def _started_at(row: Row) -> datetime:
    # An attempt that never started has ended all the same.
    return _moment(row, "started_at" if row["started_at"] else "finished_at")


def _moment(row: Row, column: str) -> datetime:
    return datetime.fromisoformat(row[column])
