"""The signed envelope of a request to an instance.

A script sees no request header, so that authentication is a signature in the body:
`sig = HMAC-SHA256(secret, "v1." + kid + "." + ts + "." + nonce + "." + body)`, where `body` is the
base64url text (padded) of the JSON and `secret` the UTF-8 text of the key. An instance refuses
timestamps more than 300 s from its own clock and a nonce that it has seen within 600 s, so that
every request, a repeated one too, is signed anew.
"""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key of an instance: `kid` names the script property `HMAC_<kid>` that holds the same
    secret.
    """

    kid: str
    secret: bytes

    def __repr__(self) -> str:
        return f"SigningKey(kid={self.kid!r}, secret=…)"


def signature(key: SigningKey, ts: int, nonce: str, body: str) -> str:
    """The signature, in hex."""
    text = f"v1.{key.kid}.{ts}.{nonce}.{body}"
    return hmac.digest(key.secret, text.encode(), hashlib.sha256).hex()


def sign(key: SigningKey, body: bytes, *, ts: int, nonce: str) -> dict[str, str | int]:
    """The envelope for `body` (JSON in UTF-8) at `ts` (Unix seconds)."""
    encoded = urlsafe_b64encode(body).decode("ascii")
    return {
        "v": 1,
        "kid": key.kid,
        "ts": ts,
        "nonce": nonce,
        "body": encoded,
        "sig": signature(key, ts, nonce, encoded),
    }
