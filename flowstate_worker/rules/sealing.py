"""Seals users' Google tokens, so that the database never holds one that can be read.

AES-256-GCM (NIST SP 800-38D) under a key that has an id. The sealed form is base64 text of

    version (1 byte, 1) · nonce (12 random bytes) · ciphertext · tag (16 bytes)

and the additional data are version, user, kind and key id: what was moved to another user, from
the refresh to the access column, or under another key's id, does not open. With random nonces a key
is good for 2**32 seals; exchange it before (`flowstate tokens rotate-keys`).
"""

import json
import os
import re
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Mapping
from enum import StrEnum
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from flowstate_worker.errors import TokenUnreadable

KEY_BYTES = 32
KEY_FORM = '{"<key id>": "<base64 of 32 random bytes>"}'
_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,40}")
_VERSION = 1
_NONCE_BYTES = 12
_TAG_BYTES = 16
_FEWEST_DIFFERENT_BYTES = 8
"""32 random bytes have fewer different ones never; placeholders do."""


class Kind(StrEnum):
    """Which of a user's two tokens."""

    REFRESH = "refresh"
    ACCESS = "access"


def is_key_id(text: str) -> bool:
    """Whether `text` may name a key: 1 to 40 letters, digits, _ or -."""
    return _KEY_ID.fullmatch(text) is not None


def load_keys(text: str) -> dict[str, object]:
    """Keys by id, not yet looked at, from JSON text of the form `KEY_FORM`. Raises ValueError."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not found:
        raise ValueError(f"must be JSON: {KEY_FORM}")
    return found


def read_keys(found: Mapping[str, object]) -> dict[str, bytes]:
    """The keys of ids and their base64 text.

    Raises ValueError, which names the key's id where it has one, and never repeats a value.
    """
    keys: dict[str, bytes] = {}
    for key_id, value in found.items():
        if not is_key_id(key_id):  # not repeated: it may be a key in the wrong place
            raise ValueError("has a key id that is not 1 to 40 letters, digits, _ or -")
        key = _decoded(value)
        if key is None or len(key) != KEY_BYTES:
            raise ValueError(f"the key {key_id!r} must be base64 of {KEY_BYTES} bytes")
        if len(set(key)) < _FEWEST_DIFFERENT_BYTES:
            raise ValueError(
                f"the key {key_id!r} is not random: make one, flowstate tokens new-key"
            )
        if key in keys.values():
            raise ValueError(f"the key {key_id!r} is the same as another one")
        keys[key_id] = key
    return keys


def new_key() -> str:
    """A fresh key as base64 text."""
    return b64encode(os.urandom(KEY_BYTES)).decode("ascii")


class KeyRing:
    """The keys that open, and the one of them that seals.

    `key_id` names that one; it may be left out where there is only one. Raises ValueError.
    """

    def __init__(self, keys: Mapping[str, bytes], key_id: str | None = None) -> None:
        if key_id is None:
            if len(keys) != 1:
                raise ValueError("must name the key that seals: there is more than one")
            key_id = next(iter(keys))
        elif key_id not in keys:
            raise ValueError(f"names the key {key_id!r}, which is not among {', '.join(keys)}")
        self.key_id = key_id
        self._ciphers = {name: AESGCM(key) for name, key in keys.items()}

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self._ciphers)

    def __repr__(self) -> str:
        return f"KeyRing(key_id={self.key_id!r}, ids={self.ids})"

    def seal(self, token: str, user_id: UUID, kind: Kind) -> str:
        """`token` sealed under the sealing key, as base64 text."""
        nonce = os.urandom(_NONCE_BYTES)
        data = _additional(user_id, kind, self.key_id)
        sealed = self._ciphers[self.key_id].encrypt(nonce, token.encode(), data)
        return b64encode(bytes([_VERSION]) + nonce + sealed).decode("ascii")

    def open(self, sealed: str, user_id: UUID, kind: Kind, key_id: str) -> str:
        """The token. Raises TokenUnreadable, whose `reason` is from a closed list."""
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise TokenUnreadable("unknown_key", f"it is sealed with the key {key_id!r}")
        raw = _decoded(sealed)
        if raw is None or len(raw) < 1 + _NONCE_BYTES + _TAG_BYTES:
            raise TokenUnreadable("unreadable", "it is not in the sealed form")
        if raw[0] != _VERSION:
            raise TokenUnreadable("unknown_version", f"its form is version {raw[0]}")
        nonce, ciphertext = raw[1 : 1 + _NONCE_BYTES], raw[1 + _NONCE_BYTES :]
        try:
            return cipher.decrypt(nonce, ciphertext, _additional(user_id, kind, key_id)).decode()
        except InvalidTag:
            raise TokenUnreadable("tampered", "it was changed or moved, or the key is") from None


def _additional(user_id: UUID, kind: Kind, key_id: str) -> bytes:
    # No part holds a NUL, so that no two sets of parts give the same text.
    parts = ("flowstate google token", str(_VERSION), str(user_id), kind.value, key_id)
    return "\0".join(parts).encode()


def _decoded(value: object) -> bytes | None:
    if not isinstance(value, str):
        return None
    try:
        return b64decode(value, validate=True)
    except (NotBase64, ValueError):
        return None
