"""Canaries: what must not reach a log, an error or a metric."""

import io
import json
import logging

import pytest
import structlog

from flowstate_worker.logs import configure_logs, get_logger
from flowstate_worker.rules.redaction import MAX_TEXT, redact, redact_text

CANARIES = {
    "secret key": "sb_secret_N7und0UjhVCANARY",
    "publishable key": "sb_publishable_CANARYxyz",
    "token": "eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoiQ0FOQVJZIn0.c2lnbmF0dXJlQ0FOQVJZ",
    "google token": "ya29.a0CANARY-Canary",
    "google refresh token": "1//0gCANARY_refresh-CANARY",
    "google client secret": "GOCSPX-CANARY_secret",
    "key of 32 bytes": "CANARYCANARYCANARYCANARYCANARYCANARYCANARY0=",
    "bearer": "Bearer CANARYCANARYCANARY",
    "echo key": "https://script.googleusercontent.com/macros/echo?user_content_key=CANARY&lib=CANARY",
    "api key in an address": "wss://x.supabase.co/realtime/v1/websocket?apikey=CANARY&vsn=1.0.0",
    "credentials in an address": "postgresql://postgres:CANARY@localhost/postgres",
    "signature": "CA" + "0123456789abcdef" * 3 + "0123456789ab" + "CA",
    "address": "canary.CANARY+x@mail.example.com",
    "quoted address": "canary.CANARY%40example.com",
}


@pytest.mark.parametrize("canary", CANARIES.values(), ids=CANARIES.keys())
def test_a_secret_in_any_text_is_replaced(canary: str) -> None:
    redacted = redact_text(f"failed: {canary}, try again")
    assert "CANARY" not in redacted
    assert "CA0123" not in redacted
    assert redacted.startswith("failed: ")


@pytest.mark.parametrize(
    "name",
    [
        "service_key", "Authorization", "access_token", "lease_token", "password", "cookie", "sig",
        "nonce", "subject", "body", "html_body", "snippet", "to", "cc", "input", "steps", "result",
    ],
)  # fmt: skip
def test_a_value_under_a_telling_name_vanishes_whole(name: str) -> None:
    assert redact({"outer": {name: ["plain CANARY words"]}}) == {"outer": {name: "[redacted]"}}


def test_ids_counts_and_categories_stay() -> None:
    event = {"execution_id": "0193c0de-0000-7000-8000-000000000001", "count": 3, "category": "lock"}
    assert redact(event) == event


def test_a_text_is_cut_without_leaving_half_a_secret() -> None:
    text = "x" * (MAX_TEXT - 10) + " canary@example.com" + "y" * MAX_TEXT
    assert len(redact_text(text)) == MAX_TEXT
    assert "canary" not in redact_text(text)


@pytest.fixture
def restored_logging() -> object:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield None
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


@pytest.mark.usefixtures("restored_logging")
@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_sink_of_the_log_shows_a_canary(log_format: str) -> None:
    stream = io.StringIO()
    configure_logs("debug", log_format, secrets=["shapeless CANARY secret"], stream=stream)
    log = get_logger("test")
    for canary in CANARIES.values():
        log.info("said", about=canary, nested={"list": [canary]})
        logging.getLogger("some.library").warning("library says %s", canary)
        try:
            raise RuntimeError(canary)
        except RuntimeError:
            log.exception("broke")
    log.info("known", text="the shapeless CANARY secret is told")
    written = stream.getvalue()
    assert written.count("said") >= len(CANARIES)
    assert "CANARY" not in written


@pytest.mark.usefixtures("restored_logging")
def test_a_log_line_is_one_json_object() -> None:
    stream = io.StringIO()
    configure_logs("info", "json", stream=stream)
    get_logger("test").info("claimed", count=3)
    line = json.loads(stream.getvalue())
    assert (line["event"], line["count"], line["level"]) == ("claimed", 3, "info")
