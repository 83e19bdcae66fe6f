"""The envelope, against vectors worked out with another implementation (openssl)."""

import base64
import json

from flowstate_worker.rules.signing import SigningKey, sign, signature

KEY = SigningKey("k1", "geheim-schlüssel".encode())


def test_the_signature_is_that_of_openssl() -> None:
    # printf v1.k1.1700000000.nonce-0001.eyJhIjoxfQ== | openssl dgst -sha256 -hmac geheim-schlüssel
    assert (
        signature(KEY, 1700000000, "nonce-0001", "eyJhIjoxfQ==")
        == "531ca8ce1611cf8b2cba5302d891778d9fbaf293e50998acd8f1a1b22117fade"
    )


def test_the_envelope_holds_what_is_signed_and_nothing_else() -> None:
    envelope = sign(KEY, b'{"a":1}', ts=1700000000, nonce="nonce-0001")
    assert envelope == {
        "v": 1,
        "kid": "k1",
        "ts": 1700000000,
        "nonce": "nonce-0001",
        "body": "eyJhIjoxfQ==",
        "sig": signature(KEY, 1700000000, "nonce-0001", "eyJhIjoxfQ=="),
    }


def test_a_body_of_any_bytes_survives_the_envelope() -> None:
    body = json.dumps({"text": "ä€😀~~~???"}, ensure_ascii=False).encode()
    envelope = sign(KEY, body, ts=1, nonce="12345678")
    assert base64.urlsafe_b64decode(str(envelope["body"])) == body


def test_each_part_of_the_envelope_is_signed() -> None:
    original = signature(KEY, 1, "nonce-0001", "body")
    assert original != signature(SigningKey("k2", KEY.secret), 1, "nonce-0001", "body")
    assert original != signature(KEY, 2, "nonce-0001", "body")
    assert original != signature(KEY, 1, "nonce-0002", "body")
    assert original != signature(KEY, 1, "nonce-0001", "bodY")


def test_a_key_does_not_show_its_secret() -> None:
    assert "geheim" not in repr(KEY)
