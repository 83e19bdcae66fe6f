"""From a verdict to what the queue is told.

The one rule that keeps a flow from being done twice stands here (`_where`): another instance may
only get an execution whose script is known not to have run, in this attempt and in all before it.
Stores are per script project, so that only the instance which may have run it can tell; there,
asking again is safe, because Code.gs does an execution id once.
"""

from random import Random
from typing import Any

from flowstate_worker.rules.categories import ROWS, Category
from flowstate_worker.rules.classification import Verdict, failed
from flowstate_worker.rules.models import (
    Breaker,
    FinishItem,
    LeaseProof,
    Outcome,
    Ran,
    RetryOn,
)
from flowstate_worker.rules.redaction import redact_text

_MAX_MESSAGE = 500


def succeeded(proof: LeaseProof, verdict: Verdict, *, duration_ms: int) -> FinishItem:
    """The execution is done; its result is the envelope's."""
    envelope = verdict.envelope
    return FinishItem(
        proof=proof,
        outcome=Outcome.SUCCEEDED,
        result=verdict.result,
        usage=envelope.usage if envelope else None,
        duration_ms=duration_ms,
        breaker=Breaker.SUCCESS,
    )


def unsuccessful(
    proof: LeaseProof, verdict: Verdict, *, resumed: bool, duration_ms: int, rng: Random
) -> FinishItem:
    """The attempt failed; the verdict's row says whether, where and when there is another one.

    `resumed`: an earlier attempt may have run on this very instance.
    """
    row = verdict.row or ROWS["worker_error"]
    where = _where(row, verdict.ran, resumed=resumed)
    return FinishItem(
        proof=proof,
        outcome=Outcome.FAILED,
        error=_error(row, verdict),
        retry=row.retry,
        retry_on=where,
        retry_after_seconds=_when(row, verdict, where, proof.attempt, rng) if row.retry else None,
        spend_attempt=row.spends and verdict.ran is not Ran.NONE,
        user_error=row.user_error,
        usage=verdict.envelope.usage if verdict.envelope else None,
        duration_ms=duration_ms,
        breaker=row.breaker,
    )


def without_result(item: FinishItem, row_key: str) -> FinishItem:
    """The same attempt as the user's error: it is done, but its result cannot be kept."""
    row = ROWS[row_key]
    return FinishItem(
        proof=item.proof,
        outcome=Outcome.FAILED,
        error=_error(row, failed(row_key)),
        user_error=row.user_error,
        usage=item.usage,
        duration_ms=item.duration_ms,
        breaker=item.breaker,
    )


def _where(row: Category, ran: Ran, *, resumed: bool) -> RetryOn:
    """Never another instance unless the script is known not to have run, now or earlier."""
    return row.retry_on if ran is Ran.NONE and not resumed else RetryOn.SAME


def _when(row: Category, verdict: Verdict, where: RetryOn, attempt: int, rng: Random) -> float:
    if verdict.retry_after_seconds is not None:
        return verdict.retry_after_seconds + rng.uniform(0.0, 1.0)
    held = where is RetryOn.SAME and row.retry_on is not RetryOn.SAME
    delay = row.held_delay if held and row.held_delay else row.delay
    return round(delay.after(attempt, rng), 3)


def _error(row: Category, verdict: Verdict) -> dict[str, Any]:
    """The error as it is stored: the category, and the script's own message where there is one."""
    own = verdict.error
    message = redact_text(own.message)[:_MAX_MESSAGE] if own and own.message else row.says
    error: dict[str, Any] = {
        "category": row.name,
        "code": verdict.code or row.name,
        "message": message,
        "step": own.step if own else None,
        "ran": verdict.ran.value,
    }
    if own and own.service:
        error["service"] = own.service
    return error
