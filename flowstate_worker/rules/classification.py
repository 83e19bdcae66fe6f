"""What one answer of an instance means.

Decided in this order: hop and redirect target, then status, then the JSON envelope, then the page's
text. A success needs an envelope with the execution's own id: a plausible page, or the answer to
another call, is none.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from flowstate_worker.rules.addresses import Target
from flowstate_worker.rules.categories import ROWS, Category
from flowstate_worker.rules.envelope import Envelope, EnvelopeError, looks_like_json, parse_envelope
from flowstate_worker.rules.models import Ran
from flowstate_worker.rules.page_texts import row_of_text


class Failure(StrEnum):
    """Why a hop has no status or no whole body."""

    CONNECT = "connect"  # nothing was sent
    TIMEOUT = "timeout"
    BROKEN = "broken"
    TOO_LARGE = "too_large"


@dataclass(frozen=True, slots=True)
class HopAnswer:
    """One HTTP answer. `target` is set for redirects; `failure` where there is no whole answer."""

    status: int = 0
    body: bytes = b""
    target: Target | None = None
    retry_after_seconds: float | None = None
    failure: Failure | None = None


class Meaning(StrEnum):
    DONE = "done"
    RUNNING = "running"  # the script still works on it
    ABSENT = "absent"  # asked for a result, the instance knows nothing of that execution
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an exchange came to. `row` is set if it failed; `reread` if the same echo address may
    still answer.
    """

    meaning: Meaning
    row: Category | None = None
    ran: Ran = Ran.ALL
    envelope: Envelope | None = None
    code: str | None = None
    reread: bool = False
    retry_after_seconds: float | None = None

    @property
    def error(self) -> EnvelopeError | None:
        return None if self.envelope is None else self.envelope.error

    @property
    def result(self) -> Any:
        return None if self.envelope is None else self.envelope.result


def failed(row_key: str, code: str | None = None, **more: Any) -> Verdict:
    """The verdict of the row with that key, with the row's own `ran` unless told."""
    row = ROWS[row_key]
    return Verdict(Meaning.FAILED, row, **{"ran": row.ran, "code": code, **more})


def must_follow(answer: HopAnswer) -> bool:
    """Does the first hop's answer say where the script's answer can be read?"""
    return answer.failure is None and answer.target is Target.ECHO


_EXEC_STATUS = {401: "http_auth", 403: "http_auth", 404: "deployment_missing", 429: "http_429"}
_EXEC_TARGET = {Target.LOGIN: "login"}


def judge_exec(answer: HopAnswer, execution_id: str) -> Verdict:
    """The meaning of the first hop's answer, where it is not a redirect to follow."""
    if answer.failure is Failure.CONNECT:
        return failed("network", "connect")
    if answer.failure is Failure.TOO_LARGE:
        return failed("foreign_answer", "body_too_large")
    if answer.failure is not None:
        return failed("network_unknown", answer.failure.value)
    if answer.target is not None:
        return failed(_EXEC_TARGET.get(answer.target, "odd_redirect"), answer.target.value)
    if answer.status != 200:
        row = _EXEC_STATUS.get(answer.status)
        if row is None:
            row = "http_5xx" if answer.status >= 500 else "client_bug"
        return failed(row, f"http_{answer.status}", retry_after_seconds=answer.retry_after_seconds)
    envelope = parse_envelope(answer.body)
    if envelope is not None:
        return judge_envelope(envelope, execution_id)
    if looks_like_json(answer.body):
        return failed("foreign_answer", "no_envelope")
    row = row_of_text(answer.body.decode("utf-8", "replace"))
    return failed(row, "page") if row else failed("transient_page", "unknown_page")


def judge_echo(answer: HopAnswer, execution_id: str) -> Verdict:
    """The meaning of the second hop's answer. The script has run, so that nothing here allows
    another instance.
    """
    if answer.failure is Failure.TOO_LARGE:
        return failed("result_too_large", "body_too_large")
    if answer.failure is None and answer.status == 200 and answer.target is None:
        envelope = parse_envelope(answer.body)
        if envelope is not None:
            return judge_envelope(envelope, execution_id)
    bounced = answer.target is not None
    code = "bounced" if bounced else answer.failure or f"http_{answer.status}"
    return failed("echo_lost", str(code), reread=not bounced)


_KIND_ROWS = {
    "user": "flow_error",
    "quota": "daily_quota",
    "rate": "rate_service",
    "transient": "transient",
    "auth": "needs_auth_inside",
    "lock": "lock",
    "timeout": "execution_timeout",
    "internal": "script_error",
}
# Codes of Code.gs that mean something more exact than their kind.
_CODE_ROWS = {
    "TOO_MANY_AT_ONCE": "concurrency",
    "NEEDS_REVIEW": "needs_review",
    "RESULT_TOO_LARGE": "result_too_large",
    "BAD_REQUEST": "client_bug",
    "BAD_ENVELOPE": "client_bug",
    "STALE": "signature_refused",
    "UNKNOWN_KEY": "signature_refused",
    "BAD_SIGNATURE": "signature_refused",
    "WRONG_INSTANCE": "signature_refused",
}
_ABSENT = "UNKNOWN_EXECUTION"
_NONCE_USED = "NONCE_USED"


def judge_envelope(envelope: Envelope, execution_id: str) -> Verdict:
    """The meaning of what Code.gs itself says."""
    error = envelope.error
    ours = envelope.execution_id == execution_id
    # A refused envelope is answered before its body is read: such an answer names no execution.
    unread = error is not None and error.kind == "auth" and envelope.execution_id is None
    if not ours and not unread:
        return failed("foreign_answer", "wrong_execution_id")
    if error is None:
        if envelope.status == "done":
            return Verdict(Meaning.DONE, envelope=envelope)
        if envelope.status == "in_progress":
            return Verdict(Meaning.RUNNING, ROWS["still_running"], Ran.UNKNOWN, envelope)
        return failed("foreign_answer", "unknown_status")
    if error.code == _ABSENT:
        return Verdict(Meaning.ABSENT, ROWS["worker_error"], Ran.UNKNOWN, envelope)
    if error.code == _NONCE_USED:
        # Something on the way sent this very request twice, and the other copy was let in.
        return failed("foreign_answer", _NONCE_USED)
    row = ROWS[_row_of(error)]
    return Verdict(Meaning.FAILED, row, error.ran or row.ran, envelope, error.code)


def _row_of(error: EnvelopeError) -> str:
    row_key = _CODE_ROWS.get(error.code or "") or _KIND_ROWS.get(error.kind, "script_error")
    if row_key == "script_error" and error.message:
        # Code.gs met an exception that it does not know: its text may still be one of Google's.
        row_key = row_of_text(error.message) or row_key
    return "transient" if row_key == "transient_page" else row_key
