"""The oracle: after a fault and a drain, was anything lost, made up or done twice?

It compares three books that are kept apart: what callers were told is accepted, the queue's
history, and the simulator's ledger of effects.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tests.faults.simulator import Simulator
from tests.sql.driver import QueueDriver, Row

_MOST_CALLS = 1000  # that the simulator remembers one by one


def check(
    queue: QueueDriver, simulator: Simulator, accepted: Sequence[str], *, effects: int | None
) -> None:
    """Nothing lost, nothing unexpected, nothing doubled, and the counters are true.

    `effects`: how many each success has in the ledger; None: not looked at.
    """
    history = queue.rows("select execution_id::text, outcome, is_final from public.execution_logs")
    finals = Counter(row["execution_id"] for row in history if row["is_final"])
    ledger = Counter(row["executionId"] for row in simulator.effects())
    wanted = set(accepted)
    assert len(wanted) == len(accepted), "two acceptances have one id"

    assert wanted - set(finals) == set(), "lost: accepted, and without an end"
    assert set(finals) - wanted == set(), "unexpected: ended, and never accepted"
    assert set(ledger) - wanted == set(), "unexpected: effects of what was never accepted"
    assert [ends for ends in finals.values() if ends != 1] == [], "an execution ended twice"

    assert simulator.summary()["duplicate_effects"] == 0, doubled(simulator)
    if effects is not None:
        succeeded = {row["execution_id"] for row in history if row["outcome"] == "succeeded"}
        wrong = {each: ledger[each] for each in succeeded if ledger[each] != effects}
        assert wrong == {}, f"successes without exactly {effects} effects"

    _repeats_are_accounted_for(history, simulator)
    assert queue.counters_are_true(), "private.user_queue does not say what the queue holds"


def doubled(simulator: Simulator) -> str:
    """The effects that were done twice."""
    twice = [row for row in simulator.effects() if row["duplicate"]]
    return f"done twice: {twice}"


def _repeats_are_accounted_for(history: Sequence[Row], simulator: Simulator) -> None:
    """A flow is sent again only for a further attempt, which history knows of."""
    attempts = Counter(row["execution_id"] for row in history)
    summary = simulator.summary()
    assert summary["runs"] <= len(history), "more runs than attempts"
    if summary["calls"] <= _MOST_CALLS:
        runs = Counter(call["executionId"] for call in simulator.calls() if call["op"] == "run")
        unaccounted = {each: runs[each] for each, n in attempts.items() if runs[each] > n}
        assert unaccounted == {}, f"run again without another attempt: {dict(attempts)}"
