"""What Google's token endpoint answers, and what becomes of the token."""

import json
from typing import Any

import pytest

from flowstate_worker.rules.google_answers import (
    ClientRefused,
    Failed,
    Refresh,
    Refreshed,
    Revoked,
    judge_refresh,
)

GOOD: dict[str, Any] = {
    "access_token": "ya29.CANARY",
    "expires_in": 3599,
    "scope": "openid https://www.googleapis.com/auth/drive",
    "token_type": "Bearer",
}
HTML = b"<!DOCTYPE html><title>Error 502 (Server Error)!!1</title>"


def test_a_new_token_is_read_with_its_time_and_scopes() -> None:
    verdict = judge_refresh(200, json.dumps({**GOOD, "id_token": "x"}).encode())
    assert isinstance(verdict, Refreshed)
    assert verdict.answer.access_token.get_secret_value() == "ya29.CANARY"
    assert verdict.answer.expires_in == 3599
    assert verdict.answer.scopes == ["openid", "https://www.googleapis.com/auth/drive"]
    assert verdict.answer.refresh_token is None
    assert "CANARY" not in repr(verdict)


ANSWERS: list[tuple[int, dict[str, Any] | bytes, Refresh]] = [
    (
        400,
        {"error": "invalid_grant", "error_description": "Token has been expired or revoked."},
        Revoked("invalid_grant"),
    ),
    (400, {"error": "invalid_grant", "error_description": "Bad Request"}, Revoked("invalid_grant")),
    (
        400,
        {"error": "invalid_grant", "error_subtype": "invalid_rapt"},
        Revoked("reauthentication"),
    ),
    (
        401,
        {"error": "invalid_client", "error_description": "The OAuth client was not found."},
        ClientRefused(),
    ),
    (
        401,
        {"error": "unauthorized_client", "error_description": "Unauthorized"},
        Failed("other_client"),
    ),
    (400, {"error": "invalid_request"}, Failed("refused")),
    (400, b"", Failed("refused")),
    (403, HTML, Failed("refused")),
    (404, HTML, Failed("refused")),
    (302, b"", Failed("refused")),
    (429, b"", Failed("rate_limited", 7.0)),
    (403, {"error": "rate_limit_exceeded"}, Failed("rate_limited", 7.0)),
    (500, {"error": "internal_failure"}, Failed("google_unavailable")),
    (400, {"error": "internal_failure"}, Failed("google_unavailable")),
    (502, HTML, Failed("google_unavailable")),
    (503, b"", Failed("google_unavailable", 7.0)),
    (200, HTML, Failed("unreadable_answer")),
    (200, b"[]", Failed("unreadable_answer")),
    (200, b"\xff", Failed("unreadable_answer")),
    (200, {**GOOD, "access_token": ""}, Failed("unreadable_answer")),
    (200, {**GOOD, "access_token": "x" * 2049}, Failed("unreadable_answer")),
    (200, {**GOOD, "expires_in": 0}, Failed("unreadable_answer")),
    (200, {**GOOD, "expires_in": None}, Failed("unreadable_answer")),
    (200, {**GOOD, "token_type": "mac"}, Failed("unreadable_answer")),
]


@pytest.mark.parametrize(("status", "body", "expected"), ANSWERS)
def test_an_answer_says_whether_the_token_is_over_or_can_be_tried_again(
    status: int, body: dict[str, Any] | bytes, expected: Refresh
) -> None:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    wait = expected.retry_after_seconds if isinstance(expected, Failed) else None
    assert judge_refresh(status, text, wait) == expected


@pytest.mark.parametrize("status", [400, 401, 403, 429, 500, 503])
def test_only_invalid_grant_ends_a_connection(status: int) -> None:
    for code in ("invalid_client", "invalid_request", "access_denied", "internal_failure", ""):
        verdict = judge_refresh(status, json.dumps({"error": code}).encode())
        assert not isinstance(verdict, Revoked)
