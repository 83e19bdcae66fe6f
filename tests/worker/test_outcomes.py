"""What the queue is told, and the rule that a flow is not done twice."""

from random import Random
from uuid import uuid4

import pytest

from flowstate_worker.rules.categories import ROWS
from flowstate_worker.rules.classification import Meaning, Verdict, failed
from flowstate_worker.rules.envelope import Envelope, EnvelopeError
from flowstate_worker.rules.models import (
    Breaker,
    FinishItem,
    LeaseProof,
    Outcome,
    Ran,
    RetryOn,
)
from flowstate_worker.rules.outcomes import succeeded, unsuccessful, without_result

PROOF = LeaseProof(execution_id=uuid4(), attempt=2, lease_token=uuid4())


def told(verdict: Verdict, *, resumed: bool = False) -> FinishItem:
    return unsuccessful(PROOF, verdict, resumed=resumed, duration_ms=3, rng=Random(7))


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("ran", [ran for ran in Ran if ran is not Ran.NONE])
def test_what_may_have_run_stays_on_its_instance(row: str, ran: Ran) -> None:
    assert told(failed(row, ran=ran)).retry_on is RetryOn.SAME


@pytest.mark.parametrize("row", ROWS)
def test_after_an_attempt_that_may_have_run_not_even_a_refused_one_moves_on(row: str) -> None:
    assert told(failed(row, ran=Ran.NONE), resumed=True).retry_on is RetryOn.SAME


@pytest.mark.parametrize("row", ROWS)
def test_an_attempt_that_did_not_run_is_not_spent(row: str) -> None:
    assert not told(failed(row, ran=Ran.NONE)).spend_attempt


def test_a_drained_attempt_is_not_spent_either() -> None:
    item = told(failed("drained"))
    assert not item.spend_attempt
    assert (item.retry, item.retry_on) == (True, RetryOn.SAME)


def test_a_success_carries_result_usage_and_a_good_word_for_the_breaker() -> None:
    envelope = Envelope(v=1, ok=True, executionId="x", result={"a": 1}, usage={"mail": 2})
    wire = succeeded(PROOF, Verdict(Meaning.DONE, envelope=envelope), duration_ms=9).wire()
    assert wire == {
        **PROOF.wire(),
        "outcome": "succeeded",
        "breaker": "success",
        "duration_ms": 9,
        "usage": {"mail": 2},
        "result": {"a": 1},
    }


def test_an_error_names_step_and_code_and_leaks_no_address() -> None:
    error = EnvelopeError(
        kind="user", code="BAD_RECIPIENT", message="Invalid email: a.b@example.com", step="mail"
    )
    envelope = Envelope(v=1, ok=False, executionId="x", error=error)
    verdict = Verdict(Meaning.FAILED, ROWS["flow_error"], Ran.PARTIAL, envelope, error.code)
    assert told(verdict).error == {
        "category": "flow_error",
        "code": "BAD_RECIPIENT",
        "message": "Invalid email: [email]",
        "step": "mail",
        "ran": "partial",
    }


def test_a_long_message_is_cut() -> None:
    error = EnvelopeError(kind="user", message="word " * 1000)
    envelope = Envelope(v=1, ok=False, executionId="x", error=error)
    item = told(Verdict(Meaning.FAILED, ROWS["flow_error"], Ran.ALL, envelope))
    assert item.error is not None
    assert len(item.error["message"]) == 500


def test_a_result_that_cannot_be_kept_ends_the_execution_as_the_users_error() -> None:
    good = FinishItem(
        proof=PROOF, outcome=Outcome.SUCCEEDED, result=1, usage={"mail": 1}, breaker=Breaker.SUCCESS
    )
    bad = without_result(good, "result_too_large")
    assert (bad.outcome, bad.retry, bad.user_error) == (Outcome.FAILED, False, True)
    assert (bad.proof, bad.usage, bad.breaker) == (good.proof, good.usage, good.breaker)


def test_delays_grow_with_the_attempts_and_stay_bounded() -> None:
    def delay(attempt: int) -> float:
        proof = PROOF.model_copy(update={"attempt": attempt})
        item = unsuccessful(proof, failed("http_5xx"), resumed=False, duration_ms=1, rng=Random(1))
        assert item.retry_after_seconds is not None
        return item.retry_after_seconds

    assert [1 <= delay(1) <= 2, 2 <= delay(2) <= 4, 4 <= delay(3) <= 8, 4 <= delay(25) <= 8] == [
        True
    ] * 4
