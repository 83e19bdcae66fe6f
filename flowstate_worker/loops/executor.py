"""One attempt, from claimed row to outcome.

    refuse what cannot be called
      → an earlier attempt may have run here: ask for its result, run only if there is none
      → run
      → the answer is lost or unclear: ask the same instance for the result
      → outcome

An attempt yields at most one outcome: `attempt` returns it, and nothing else in the worker makes
one for an attempt that has begun.
"""

import asyncio
import time
from collections.abc import Callable
from random import Random

from flowstate_worker.clients.apps_script import AppsScriptClient, Op
from flowstate_worker.logs import get_logger
from flowstate_worker.loops.leases import Attempt, End
from flowstate_worker.rules.classification import Meaning, Verdict, failed
from flowstate_worker.rules.models import FinishItem, Outcome, Ran
from flowstate_worker.rules.outcomes import succeeded, unsuccessful
from flowstate_worker.signals import Moment, Signals

_log = get_logger(__name__)

_KINDS = frozenset({"apps_script"})
_ASKS = 3
"""Times that a result is asked for in one attempt, while nothing at all is heard."""
_POLL_SECONDS = (2.0, 4.0, 8.0, 10.0)
"""Between questions to an instance that says the script still runs."""
_NO_RESULT = "no_result"
"""The code of what is not known yet about an earlier attempt."""
_RUN_MARGIN_SECONDS = 60.0
"""A run may be reported as under way this much longer than a script can run."""


class Executor:
    """Makes outcomes of attempts. Holds no state of its own between them."""

    def __init__(
        self,
        client: AppsScriptClient,
        *,
        rng: Random,
        signals: Signals,
        script_seconds: float = 300.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._rng = rng
        self._signals = signals
        self._wait_seconds = script_seconds + _RUN_MARGIN_SECONDS
        self._monotonic = monotonic

    async def attempt(self, attempt: Attempt) -> FinishItem | None:
        """The attempt's outcome; None if the worker has no right to one any more."""
        started = self._monotonic()
        try:
            verdict = await self._verdict(attempt)
        except asyncio.CancelledError:
            if attempt.end is None:
                raise
            return self._ended_early(attempt, started)
        except Exception:
            _log.exception("attempt_failed", execution_id=str(attempt.proof.execution_id))
            verdict = failed("worker_error", ran=Ran.UNKNOWN if attempt.sent else Ran.NONE)
        if verdict is None or attempt.end is End.LOST:
            return None
        return self._outcome(attempt, verdict, started)

    async def _verdict(self, attempt: Attempt) -> Verdict | None:
        execution = attempt.execution
        if execution.flow_kind not in _KINDS:
            return failed("unknown_flow_kind")
        refusal = self._client.refusal(execution)
        if refusal is not None:
            return refusal
        if execution.resume:
            earlier = await self._ask(attempt, unknown=failed("network_unknown", _NO_RESULT))
            if not _may_run(earlier):
                return earlier
        if attempt.cancel_requested:
            return failed("cancelled", ran=Ran.UNKNOWN if execution.resume else Ran.NONE)
        if self._monotonic() >= attempt.leased_until:
            # Suspended for so long that somebody else may hold the execution by now.
            _log.warning("lease_over_before_call", execution_id=str(execution.execution_id))
            return None
        attempt.sent = True
        self._signals.happened(Moment.CALL_STARTED)
        verdict = await self._client.call(Op.RUN, execution)
        if verdict.row is not None and verdict.row.ask:
            return await self._ask(attempt, unknown=verdict)
        return verdict

    async def _ask(self, attempt: Attempt, *, unknown: Verdict) -> Verdict:
        """What the instance knows of the execution. `unknown` stands while it says nothing."""
        give_up_at = self._monotonic() + self._wait_seconds
        verdict = unknown
        pause = self._first_pause(unknown)
        asked = polled = 0
        while True:
            await attempt.pause(pause)
            if attempt.cancel_requested:
                return failed("cancelled", ran=unknown.ran)
            answer = await self._client.call(Op.RESULT, attempt.execution)
            if answer.meaning in {Meaning.DONE, Meaning.ABSENT} or _is_record(answer):
                return answer if answer.meaning is not Meaning.ABSENT else _absent(unknown)
            if answer.meaning is Meaning.RUNNING:
                verdict = answer
                pause = _POLL_SECONDS[min(polled, len(_POLL_SECONDS) - 1)]
                polled += 1
            else:
                asked += 1
                row = unknown.row
                pause = row.delay.after(asked + 1, self._rng) if row else 2.0
                if unknown.code == _NO_RESULT and verdict.meaning is not Meaning.RUNNING:
                    verdict = _unanswered(answer, unknown)
            if asked >= _ASKS or self._monotonic() + pause > give_up_at:
                return verdict

    def _first_pause(self, unknown: Verdict) -> float:
        # Where the script surely ran, its result is there already; so it is for an earlier attempt.
        if unknown.ran is Ran.ALL or unknown.code == _NO_RESULT or unknown.row is None:
            return 0.0
        if unknown.meaning is Meaning.RUNNING:
            return _POLL_SECONDS[0]
        return unknown.row.delay.after(1, self._rng)

    def _ended_early(self, attempt: Attempt, started: float) -> FinishItem | None:
        if attempt.end is End.LOST:
            return None
        if not attempt.sent:
            return FinishItem(proof=attempt.proof, outcome=Outcome.RELEASED)
        return self._outcome(attempt, failed("drained"), started)

    def _outcome(self, attempt: Attempt, verdict: Verdict, started: float) -> FinishItem:
        duration_ms = round((self._monotonic() - started) * 1000)
        if verdict.meaning is Meaning.DONE:
            return succeeded(attempt.proof, verdict, duration_ms=duration_ms)
        return unsuccessful(
            attempt.proof,
            verdict,
            resumed=attempt.execution.resume,
            duration_ms=duration_ms,
            rng=self._rng,
        )


def _is_record(answer: Verdict) -> bool:
    """Is this the instance's own account of the execution, and not a failure to ask for it?"""
    return (
        answer.meaning is Meaning.FAILED
        and answer.envelope is not None
        and answer.envelope.execution_id is not None
    )


def _unanswered(answer: Verdict, unknown: Verdict) -> Verdict:
    """An earlier attempt could not be asked about, for this reason. It may have run."""
    if answer.row is None or not answer.row.retry:
        return unknown
    return Verdict(Meaning.FAILED, answer.row, Ran.UNKNOWN, code=answer.code)


def _absent(unknown: Verdict) -> Verdict:
    """The instance never began it. Nothing but that instance may: the request may still be due."""
    return Verdict(Meaning.ABSENT, unknown.row, Ran.UNKNOWN, code="absent")


def _may_run(earlier: Verdict) -> bool:
    """After asking for an earlier attempt's result: may, or must, the flow be run again there?"""
    if earlier.meaning is Meaning.ABSENT:
        return True
    # A run that stopped half-way goes on where it stopped.
    return _is_record(earlier) and earlier.row is not None and earlier.row.retry
