"""The classification, row by row: what an answer looks like, and all that must follow from it."""

import json
from dataclasses import dataclass
from random import Random
from typing import Any
from uuid import UUID, uuid4

import pytest

from flowstate_worker.rules.addresses import Target
from flowstate_worker.rules.categories import ROWS
from flowstate_worker.rules.classification import (
    Failure,
    HopAnswer,
    Meaning,
    Verdict,
    judge_echo,
    judge_exec,
    must_follow,
)
from flowstate_worker.rules.models import LeaseProof
from flowstate_worker.rules.outcomes import unsuccessful

ID = "0193c0de-0000-7000-8000-000000000001"


def page(text: str) -> HopAnswer:
    return HopAnswer(200, f"<html><body><div>{text}</div></body></html>".encode())


def envelope(execution_id: str | None = ID, **fields: Any) -> HopAnswer:
    body: dict[str, Any] = {"v": 1, "ok": True, "executionId": execution_id, "status": "done"}
    return HopAnswer(200, json.dumps({**body, **fields}).encode())


def error(kind: str, execution_id: str | None = ID, **fields: Any) -> HopAnswer:
    body = {"kind": kind, "code": "CODE", "message": "m", "step": "s", "ran": None, **fields}
    return envelope(execution_id, ok=False, status=None, error=body)


@dataclass(frozen=True)
class Row:
    """An answer and what the table demands. `on`: where the next attempt may run; None: none."""

    answer: HopAnswer
    category: str
    ran: str
    on: str | None
    breaker: str
    asks: bool = False
    user: bool = False
    delay: tuple[float, float] = (0.0, 60.0)
    hop: str = "exec"


DOUBLING = (1.0, 2.0)  # the first of 2, 4, 8, jittered down to half
ROWS_SEEN = {
    "echo 404": Row(
        HopAnswer(404), "echo_lost", "all", "same", "ignore", asks=True, delay=DOUBLING, hop="echo"
    ),
    "echo bounced to /exec": Row(
        HopAnswer(302, target=Target.SCRIPT),
        "echo_lost",
        "all",
        "same",
        "ignore",
        asks=True,
        hop="echo",
    ),
    "echo timed out": Row(
        HopAnswer(failure=Failure.TIMEOUT),
        "echo_lost",
        "all",
        "same",
        "ignore",
        asks=True,
        hop="echo",
    ),
    "echo gives a page": Row(
        page("Meet Google Drive"), "echo_lost", "all", "same", "ignore", asks=True, hop="echo"
    ),
    "echo cannot be reached": Row(
        HopAnswer(failure=Failure.CONNECT),
        "echo_lost",
        "all",
        "same",
        "ignore",
        asks=True,
        hop="echo",
    ),
    "echo answers another execution": Row(
        envelope("other"), "foreign_answer", "unknown", "same", "failure", asks=True, hop="echo"
    ),
    "echo body too large": Row(
        HopAnswer(200, failure=Failure.TOO_LARGE),
        "result_too_large",
        "all",
        None,
        "ignore",
        user=True,
        hop="echo",
    ),
    "redirect to the script host": Row(
        HopAnswer(302, target=Target.SCRIPT),
        "odd_redirect",
        "unknown",
        "same",
        "failure",
        asks=True,
        delay=DOUBLING,
    ),
    "redirect to anywhere": Row(
        HopAnswer(302, target=Target.ELSEWHERE),
        "odd_redirect",
        "unknown",
        "same",
        "failure",
        asks=True,
    ),
    "redirect to the login": Row(
        HopAnswer(302, target=Target.LOGIN), "login", "none", "another", "trip"
    ),
    "login page": Row(page("Meet Google Drive – One place"), "login", "none", "another", "trip"),
    "401": Row(HopAnswer(401), "http_auth", "none", "another", "trip"),
    "403": Row(HopAnswer(403), "http_auth", "none", "another", "trip"),
    "access denied page": Row(
        page("Google Drive - Access Denied"), "http_auth", "none", "another", "trip"
    ),
    "authorization page": Row(
        page("Authorization needed"), "needs_auth", "none", "another", "trip"
    ),
    "authorization page, de": Row(
        page("Autorisierung erforderlich."), "needs_auth", "none", "another", "trip"
    ),
    "authorization page, pt": Row(
        page("É necessária autorização."), "needs_auth", "none", "another", "trip"
    ),
    "authorization exception page": Row(
        page("Authorization is required to perform that action."),
        "needs_auth",
        "unknown",
        "same",
        "trip",
        delay=(30, 60),
    ),
    "authorization, nothing done": Row(
        error("auth", ran="none"), "needs_auth", "none", "another", "trip"
    ),
    "authorization, half-way": Row(
        error("auth", ran="partial"), "needs_auth", "partial", "same", "trip", delay=(30, 60)
    ),
    "404": Row(HopAnswer(404), "deployment_missing", "none", "another", "failure"),
    "no doPost": Row(
        page("Script function not found: doPost"), "function_missing", "none", "another", "trip"
    ),
    "no doPost, de": Row(
        page("Skriptfunktion nicht gefunden: doPost"), "function_missing", "none", "another", "trip"
    ),
    "no doPost, pt": Row(
        page("Função de script não encontrada: doPost"),
        "function_missing",
        "none",
        "another",
        "trip",
    ),
    "no return": Row(
        page("The script completed but did not return anything."), "no_return", "all", None, "trip"
    ),
    "no return, de": Row(
        page("Das Skript wurde abgeschlossen, hat jedoch nichts zurückgegeben."),
        "no_return",
        "all",
        None,
        "trip",
    ),
    "no return, pt": Row(
        page("O script foi concluído, mas não retornou nada."), "no_return", "all", None, "trip"
    ),
    "too many scripts": Row(
        page("There are too many scripts running simultaneously for this Google user account."),
        "concurrency",
        "none",
        "another_owner",
        "ignore",
        delay=(1, 30),
    ),
    "too many scripts, de": Row(
        page("Für dieses Google-Nutzerkonto werden zu viele Skripts gleichzeitig ausgeführt."),
        "concurrency",
        "none",
        "another_owner",
        "ignore",
    ),
    "too many scripts, pt": Row(
        page("Há muitos scripts em execução simultânea para esta conta de usuário do Google."),
        "concurrency",
        "none",
        "another_owner",
        "ignore",
    ),
    "too many scripts, fa": Row(
        page("اسکریپت‌های زیادی هم‌زمان برای این حساب در حال اجرا هستند."),
        "concurrency",
        "none",
        "another_owner",
        "ignore",
    ),
    "too many invocations, nothing done": Row(
        error("rate", code="TOO_MANY_AT_ONCE", ran="none"),
        "concurrency",
        "none",
        "another_owner",
        "ignore",
    ),
    "too many invocations, half-way": Row(
        error("rate", code="TOO_MANY_AT_ONCE", ran="partial"),
        "concurrency",
        "partial",
        "same",
        "ignore",
    ),
    "service rate": Row(
        error("rate", code="TOO_FAST", ran="partial"),
        "rate_service",
        "partial",
        "same",
        "ignore",
        delay=(5, 60),
    ),
    "service rate page": Row(
        page("Service invoked too many times in a short time: gmail."),
        "rate_service",
        "unknown",
        "same",
        "ignore",
    ),
    "daily quota, nothing done": Row(
        error("quota", ran="none", service="gmail"),
        "daily_quota",
        "none",
        "another_owner",
        "ignore",
    ),
    "daily quota, half-way": Row(
        error("quota", ran="partial"),
        "daily_quota",
        "partial",
        "same",
        "ignore",
        delay=(1800, 3600),
    ),
    "daily quota page": Row(
        page("Service invoked too many times for one day: gmail."),
        "daily_quota",
        "unknown",
        "same",
        "ignore",
        delay=(1800, 3600),
    ),
    "computer time": Row(
        page("Service using too much: too much computer time used for one day"),
        "daily_quota",
        "unknown",
        "same",
        "ignore",
        delay=(1800, 3600),
    ),
    "time limit page": Row(
        page("Exceeded maximum execution time"),
        "execution_timeout",
        "partial",
        None,
        "ignore",
        user=True,
    ),
    "time limit page, de": Row(
        page("Maximale Ausführungszeit überschritten"),
        "execution_timeout",
        "partial",
        None,
        "ignore",
        user=True,
    ),
    "time limit page, pt": Row(
        page("O tempo máximo de execução foi excedido"),
        "execution_timeout",
        "partial",
        None,
        "ignore",
        user=True,
    ),
    "out of time": Row(
        error("timeout", ran="partial"), "execution_timeout", "partial", None, "ignore", user=True
    ),
    "lock": Row(error("lock", ran="none"), "lock", "none", "same", "ignore", delay=(2, 5)),
    "lock page": Row(
        page("Lock timeout: another process was holding the lock for too long."),
        "lock",
        "none",
        "same",
        "ignore",
        delay=(2, 5),
    ),
    "transient envelope": Row(
        error("transient", ran="partial"), "transient", "partial", "same", "ignore", delay=DOUBLING
    ),
    "transient page": Row(
        page("We're sorry, a server error occurred. Please wait a bit and try again."),
        "transient",
        "unknown",
        "same",
        "failure",
        delay=DOUBLING,
    ),
    "transient page, fa": Row(
        page("خطایی در سرور روی داد. لطفاً کمی صبر کنید و دوباره تلاش کنید."),
        "transient",
        "unknown",
        "same",
        "failure",
    ),
    "a page in words never seen": Row(
        page("Lorem ipsum"), "transient", "unknown", "same", "failure"
    ),
    "script error page": Row(
        page('TypeError: Cannot read properties of undefined (line 12, file "Code")'),
        "script_error",
        "unknown",
        None,
        "failure",
    ),
    "script error page, de": Row(
        page('Fehler: x ist keine Funktion (Zeile 12, Datei "Code")'),
        "script_error",
        "unknown",
        None,
        "failure",
    ),
    "internal": Row(error("internal", ran="none"), "script_error", "none", None, "failure"),
    "internal, with a text of Google's": Row(
        error("internal", ran="partial", message="Service unavailable: Drive"),
        "transient",
        "partial",
        "same",
        "ignore",
    ),
    "a kind of the future": Row(error("novel"), "script_error", "unknown", None, "failure"),
    "user error": Row(error("user", ran="all"), "flow_error", "all", None, "ignore", user=True),
    "limit per message": Row(
        page("Limit exceeded: Email Total Attachments Size Per Message."),
        "flow_error",
        "all",
        None,
        "ignore",
        user=True,
    ),
    "result too large": Row(
        error("user", code="RESULT_TOO_LARGE", ran="partial"),
        "result_too_large",
        "partial",
        None,
        "ignore",
        user=True,
    ),
    "needs review": Row(
        error("internal", code="NEEDS_REVIEW", ran="partial"),
        "needs_review",
        "partial",
        None,
        "ignore",
    ),
    "bad signature": Row(
        error("auth", None, code="BAD_SIGNATURE", ran="none"),
        "signature_refused",
        "none",
        "another",
        "trip",
    ),
    "stale timestamp": Row(
        error("auth", None, code="STALE", ran="none"),
        "signature_refused",
        "none",
        "another",
        "trip",
    ),
    # The refused copy did not run, but it is a copy of a request that was let in.
    "nonce seen before": Row(
        error("auth", None, code="NONCE_USED", ran="none"),
        "foreign_answer",
        "unknown",
        "same",
        "failure",
        asks=True,
    ),
    "429": Row(HopAnswer(429), "http_429", "none", "another_owner", "ignore", delay=(15, 30)),
    "429 with Retry-After": Row(
        HopAnswer(429, retry_after_seconds=7.0),
        "http_429",
        "none",
        "another_owner",
        "ignore",
        delay=(7, 8),
    ),
    **{
        f"{status}": Row(
            HopAnswer(status), "http_5xx", "unknown", "same", "failure", asks=True, delay=DOUBLING
        )
        for status in (500, 502, 503)
    },
    "503 with Retry-After": Row(
        HopAnswer(503, retry_after_seconds=20.0),
        "http_5xx",
        "unknown",
        "same",
        "failure",
        asks=True,
        delay=(20, 21),
    ),
    "no connection": Row(
        HopAnswer(failure=Failure.CONNECT), "network", "none", "another", "failure", delay=(0.5, 1)
    ),
    "read timed out": Row(
        HopAnswer(failure=Failure.TIMEOUT),
        "network",
        "unknown",
        "same",
        "failure",
        asks=True,
        delay=(0.5, 1),
    ),
    "connection broke": Row(
        HopAnswer(failure=Failure.BROKEN),
        "network",
        "unknown",
        "same",
        "failure",
        asks=True,
        delay=(0.5, 1),
    ),
    **{
        f"{status}": Row(HopAnswer(status), "client_bug", "none", None, "ignore")
        for status in (400, 405, 411, 413)
    },
    "doGet's answer": Row(
        HopAnswer(200, b'{"v":1,"kind":"unsigned"}'),
        "foreign_answer",
        "unknown",
        "same",
        "failure",
        asks=True,
    ),
    "first hop too large": Row(
        HopAnswer(200, failure=Failure.TOO_LARGE),
        "foreign_answer",
        "unknown",
        "same",
        "failure",
        asks=True,
    ),
    "first hop answers another execution": Row(
        envelope("other"), "foreign_answer", "unknown", "same", "failure", asks=True
    ),
    "a success without an id": Row(
        envelope(None), "foreign_answer", "unknown", "same", "failure", asks=True
    ),
    "a success of an unknown status": Row(
        envelope(status="later"), "foreign_answer", "unknown", "same", "failure", asks=True
    ),
    "an envelope of another version": Row(
        envelope(v=2), "foreign_answer", "unknown", "same", "failure", asks=True
    ),
}


def judge(row: Row) -> Verdict:
    return (judge_exec if row.hop == "exec" else judge_echo)(row.answer, ID)


@pytest.mark.parametrize("row", ROWS_SEEN.values(), ids=ROWS_SEEN.keys())
def test_an_answer_means_what_its_row_says(row: Row) -> None:
    verdict = judge(row)
    assert verdict.meaning is Meaning.FAILED
    assert verdict.row is not None
    assert (verdict.row.name, verdict.ran.value) == (row.category, row.ran)
    assert verdict.row.ask is row.asks

    proof = LeaseProof(execution_id=UUID(ID), attempt=1, lease_token=uuid4())
    item = unsuccessful(proof, verdict, resumed=False, duration_ms=1, rng=Random(1)).wire()
    assert item["error"]["category"] == row.category
    assert item["breaker"] == row.breaker
    assert item["user_error"] is row.user
    assert item["retry"] is (row.on is not None)
    assert item["spend_attempt"] is (row.ran != "none")
    if row.on is not None:
        assert item["retry_on"] == row.on
        assert row.delay[0] <= item["retry_after_seconds"] <= row.delay[1]


def test_every_row_of_the_table_is_met_or_is_the_workers_own() -> None:
    own = {
        "still_running",
        "address_refused",
        "unknown_key",
        "result_refused",
        "unknown_flow_kind",
        "malformed_claim",
        "drained",
        "cancelled",
        "worker_error",
    }
    met = {id(judge(row).row) for row in ROWS_SEEN.values()}
    assert {key for key, row in ROWS.items() if id(row) not in met} == own


@pytest.mark.parametrize("judge_hop", [judge_exec, judge_echo])
def test_only_an_envelope_with_the_executions_id_is_a_success(judge_hop: Any) -> None:
    verdict = judge_hop(envelope(result={"a": 1}), ID)
    assert verdict.meaning is Meaning.DONE
    assert verdict.result == {"a": 1}
    assert judge_hop(envelope("0193c0de-0000-7000-8000-000000000002"), ID).meaning is Meaning.FAILED


def test_a_run_under_way_is_neither_success_nor_failure() -> None:
    assert judge_echo(envelope(status="in_progress"), ID).meaning is Meaning.RUNNING


def test_an_unknown_execution_is_absent_and_not_an_error_of_the_script() -> None:
    answer = error("internal", code="UNKNOWN_EXECUTION", ran="none")
    assert judge_echo(answer, ID).meaning is Meaning.ABSENT


def test_only_a_redirect_to_an_echo_address_is_followed() -> None:
    assert must_follow(HopAnswer(302, target=Target.ECHO))
    assert not any(must_follow(HopAnswer(302, target=t)) for t in Target if t is not Target.ECHO)
    assert not must_follow(HopAnswer(200))


def test_a_lost_echo_is_read_again_but_not_after_a_bounce() -> None:
    assert judge_echo(HopAnswer(404), ID).reread
    assert judge_echo(HopAnswer(failure=Failure.TIMEOUT), ID).reread
    assert not judge_echo(HopAnswer(302, target=Target.SCRIPT), ID).reread
    assert not judge_echo(envelope("other"), ID).reread
