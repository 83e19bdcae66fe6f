"""What the demo calls lost, done twice, and waited."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flowstate_cli.demo.flows import KIND_BY_NAME
from flowstate_cli.demo.people import Admission
from flowstate_cli.demo.plan import Ask, Person
from flowstate_cli.demo.report import Result
from flowstate_cli.demo.simulator import Ledger
from flowstate_cli.demo.verdict import Verdict, judge, percentile

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
KIND = KIND_BY_NAME["Invoices to Drive and a sheet"]
PERSON = Person(0, "pro", (KIND,), 1)
ASK = Ask(0, PERSON, KIND)


def ledger(steps_done: dict[str, set[str]], duplicate_effects: int = 0) -> Ledger:
    return Ledger(steps_done, 2, duplicate_effects, {}, {}, {}, {}, {})


def row(execution_id: str = "a", **changes: Any) -> dict[str, Any]:
    """One attempt that was queued at noon, started a second later and took another."""
    return {
        "execution_id": execution_id, "attempt": 1, "tier": "pro", "flow_name": KIND.name,
        "outcome": "succeeded", "is_final": True, "category": None, "instance_name": "local-1",
        "queued_at": NOON.isoformat(), "started_at": (NOON + timedelta(seconds=1)).isoformat(),
        "finished_at": (NOON + timedelta(seconds=2)).isoformat(), "duration_ms": 1000, **changes,
    }  # fmt: skip


def problems(verdict: Verdict, seen: Ledger, worker_exit_code: int = 0) -> list[str]:
    return Result(
        people=[PERSON], admission=Admission(), verdict=verdict, ledger=seen, instances=[],
        worker_exit_code=worker_exit_code, duration_seconds=1.0,
    ).problems  # fmt: skip


DONE = ledger({"a": {"save", "sheet"}})


def test_what_succeeded_and_left_all_its_traces_is_not_lost() -> None:
    verdict = judge({"a": ASK}, [row()], DONE)
    assert (verdict.lost, verdict.outcomes) == ([], Counter(succeeded=1))
    assert problems(verdict, DONE) == []


@pytest.mark.parametrize("history", [[], [row(outcome="failed", is_final=False)], [row("b")]])
def test_what_has_no_final_state_is_lost(history: list[dict[str, Any]]) -> None:
    verdict = judge({"a": ASK}, history, DONE)
    assert verdict.lost == ["a"]
    assert problems(verdict, DONE) == ["1 accepted execution was lost, such as a."]


@pytest.mark.parametrize("steps", [set(), {"save"}, {"sheet"}])
def test_what_succeeded_without_a_trace_is_lost(steps: set[str]) -> None:
    assert judge({"a": ASK}, [row()], ledger({"a": steps})).lost == ["a"]
    assert judge({"a": ASK}, [row()], ledger({"b": {"save", "sheet"}})).lost == ["a"]


@pytest.mark.parametrize("outcome", ["failed", "dead", "cancelled"])
def test_what_ended_otherwise_is_not_lost(outcome: str) -> None:
    verdict = judge({"a": ASK}, [row(outcome=outcome)], ledger({}))
    assert (verdict.lost, verdict.outcomes) == ([], Counter([outcome]))


def test_effects_done_twice_and_a_worker_that_fails_are_problems() -> None:
    verdict = judge({"a": ASK}, [row()], DONE)
    assert problems(verdict, ledger({}, duplicate_effects=3)) == ["3 effects were done twice."]
    [problem] = problems(verdict, DONE, worker_exit_code=1)
    assert problem == "The worker did not drain: it ended with 1."


def test_a_run_waits_until_its_first_attempt_starts() -> None:
    late = (NOON + timedelta(seconds=9)).isoformat()
    history = [
        row(outcome="failed", is_final=False, category="transient"),
        row(attempt=2, started_at=late, finished_at=late),
    ]
    verdict = judge({"a": ASK}, history, DONE)
    assert verdict.waits == verdict.tiers["pro"].waits == [1.0]
    assert (verdict.retried, verdict.seconds) == (1, 9.0)
    assert verdict.story == history


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [float(n) for n in range(1, 101)]
    assert [percentile(values, share) for share in (0.0, 0.5, 0.95, 1.0)] == [1, 50, 95, 100]
    assert percentile([7.0], 0.5) == 7.0
    assert percentile([], 0.5) is None
