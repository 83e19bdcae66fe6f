"""Who may call: the signature, the clock, the nonce, the key, the instance."""

from typing import Any

import pytest

from tests.apps_script.simulator import SECRETS, Envelope, Json, Simulator, new_id, send_step


def refused(answer: Json) -> str:
    assert answer["ok"] is False
    assert answer["executionId"] is None
    assert answer["error"]["kind"] == "auth"
    assert answer["error"]["ran"] == "none"
    code: str = answer["error"]["code"]
    return code


def test_a_well_signed_call_is_answered(simulator: Simulator) -> None:
    answer = simulator.call({"op": "ping"})
    assert answer["ok"] is True
    assert answer["result"]["kind"] == "health"
    assert answer["result"]["mailRemaining"] == 100
    assert answer["result"]["locale"] == "en"


def test_the_second_key_of_a_rotation_works_too(simulator: Simulator) -> None:
    envelope = simulator.envelope({"op": "ping"})
    envelope.kid, envelope.secret = "k2", SECRETS["k2"]
    assert simulator.exchange(envelope.signed())["ok"] is True


def test_a_signature_by_another_secret_is_refused(simulator: Simulator) -> None:
    envelope = simulator.envelope({"op": "ping"})
    envelope.secret = "guessed"
    assert refused(simulator.exchange(envelope.signed())) == "BAD_SIGNATURE"


def test_an_unknown_key_id_is_refused(simulator: Simulator) -> None:
    envelope = simulator.envelope({"op": "ping"})
    envelope.kid = "k9"
    assert refused(simulator.exchange(envelope.signed())) == "UNKNOWN_KEY"


@pytest.mark.parametrize("name", ["kid", "ts", "nonce", "body", "sig"])
def test_a_field_changed_after_signing_is_refused(simulator: Simulator, name: str) -> None:
    envelope = simulator.envelope({"op": "ping"}).signed()
    other = Envelope({"op": "run"}, kid="k2", ts=envelope["ts"] - 1).signed()
    assert refused(simulator.exchange({**envelope, name: other[name]})) == "BAD_SIGNATURE"


@pytest.mark.parametrize("seconds", [-302, 302])
def test_a_call_from_too_far_in_time_is_refused(simulator: Simulator, seconds: int) -> None:
    envelope = simulator.envelope({"op": "ping"})
    envelope.ts += seconds
    assert refused(simulator.exchange(envelope.signed())) == "STALE"


@pytest.mark.parametrize("seconds", [-290, 290])
def test_a_call_within_five_minutes_is_accepted(simulator: Simulator, seconds: int) -> None:
    envelope = simulator.envelope({"op": "ping"})
    envelope.ts += seconds
    assert simulator.exchange(envelope.signed())["ok"] is True


def test_a_nonce_is_refused_for_ten_minutes(simulator: Simulator) -> None:
    first = simulator.envelope({"op": "ping"})
    assert simulator.exchange(first.signed())["ok"] is True
    assert refused(simulator.exchange(first.signed())) == "NONCE_USED"
    simulator.advance(590, scripts=True)
    again = simulator.envelope({"op": "ping"})
    again.nonce = first.nonce
    assert refused(simulator.exchange(again.signed())) == "NONCE_USED"
    simulator.advance(20, scripts=True)
    later = simulator.envelope({"op": "ping"})
    later.nonce = first.nonce
    assert simulator.exchange(later.signed())["ok"] is True


def test_a_nonce_is_not_spent_by_a_stranger(simulator: Simulator) -> None:
    envelope = simulator.envelope({"op": "ping"})
    forged = Envelope(envelope.body, secret="guessed", ts=envelope.ts, nonce=envelope.nonce)
    assert refused(simulator.exchange(forged.signed())) == "BAD_SIGNATURE"
    assert simulator.exchange(envelope.signed())["ok"] is True


def test_an_envelope_for_another_instance_is_refused(simulator: Simulator) -> None:
    envelope = simulator.envelope(simulator.run_body(send_step()), "local-2")
    assert refused(simulator.exchange(envelope.signed(), "local-1")) == "WRONG_INSTANCE"
    assert simulator.effects() == []


@pytest.mark.parametrize(
    "text", ["", "not json", "[]", "null", '{"v":1}', '{"v":2}', '{"v":1,"kid":"k1","ts":"soon"}']
)
def test_what_is_no_envelope_is_refused_as_json(simulator: Simulator, text: str) -> None:
    hop = simulator.http.post(simulator.url(), content=text)
    answer = simulator.http.get(hop.headers["location"]).json()
    assert refused(answer) == "BAD_ENVELOPE"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("op", "delete"),
        ("op", None),
        ("executionId", 7),
        ("executionId", "a b"),
        ("executionId", ""),
    ],
)
def test_a_signed_body_out_of_shape_is_refused(
    simulator: Simulator, field: str, value: Any
) -> None:
    body = {**simulator.run_body(send_step()), field: value}
    answer = simulator.call(body)
    assert answer["ok"] is False
    assert answer["error"]["kind"] == "internal"
    assert answer["error"]["code"] == "BAD_REQUEST"


def test_health_is_told_to_who_signs(simulator: Simulator) -> None:
    query = simulator.envelope({"op": "ping"}).signed()
    hop = simulator.http.get(simulator.url(), params=query)
    health = simulator.http.get(hop.headers["location"]).json()
    assert set(health) == {"v", "build", "kind", "now", "locale", "mailRemaining"}
    assert health["kind"] == "health"


def test_an_unsigned_health_check_learns_nothing(simulator: Simulator) -> None:
    hop = simulator.http.get(simulator.url())
    assert simulator.http.get(hop.headers["location"]).json() == {"v": 1, "kind": "unsigned"}


def test_an_unknown_id_has_no_result(simulator: Simulator) -> None:
    answer = simulator.result(new_id())
    assert answer["error"]["code"] == "UNKNOWN_EXECUTION"
    assert answer["error"]["ran"] == "none"
