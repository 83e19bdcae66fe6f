"""Sealed tokens open for the user, the kind and the key that they were sealed for, and not else."""

import json
from base64 import b64decode, b64encode
from uuid import UUID, uuid4

import pytest

from flowstate_worker.errors import TokenUnreadable
from flowstate_worker.rules.sealing import KeyRing, Kind, load_keys, new_key, read_keys

TOKEN = "1//0CANARY-refresh-token"
USER = UUID("0193c0de-0000-7000-8000-000000000001")
KEYS = read_keys({"old": new_key(), "new": new_key()})
RING = KeyRing(KEYS, "new")


def test_what_is_sealed_opens_again() -> None:
    for kind in Kind:
        assert RING.open(RING.seal(TOKEN, USER, kind), USER, kind, "new") == TOKEN


def test_the_sealed_form_is_a_version_a_nonce_and_the_ciphertext_with_its_tag() -> None:
    raw = b64decode(RING.seal(TOKEN, USER, Kind.REFRESH), validate=True)
    assert raw[0] == 1
    assert len(raw) == 1 + 12 + len(TOKEN) + 16
    assert b"CANARY" not in raw


def test_the_same_token_is_never_sealed_alike() -> None:
    assert len({RING.seal(TOKEN, USER, Kind.REFRESH) for _ in range(100)}) == 100


@pytest.mark.parametrize("at", [1, 13, -1])
def test_a_changed_nonce_ciphertext_or_tag_does_not_open(at: int) -> None:
    raw = bytearray(b64decode(RING.seal(TOKEN, USER, Kind.REFRESH)))
    raw[at] ^= 1
    with pytest.raises(TokenUnreadable) as error:
        RING.open(b64encode(raw).decode(), USER, Kind.REFRESH, "new")
    assert error.value.reason == "tampered"


def test_what_was_moved_to_another_user_does_not_open() -> None:
    sealed = RING.seal(TOKEN, USER, Kind.REFRESH)
    with pytest.raises(TokenUnreadable) as error:
        RING.open(sealed, uuid4(), Kind.REFRESH, "new")
    assert error.value.reason == "tampered"


def test_what_was_moved_to_the_other_column_does_not_open() -> None:
    sealed = RING.seal(TOKEN, USER, Kind.REFRESH)
    with pytest.raises(TokenUnreadable) as error:
        RING.open(sealed, USER, Kind.ACCESS, "new")
    assert error.value.reason == "tampered"


def test_what_is_said_to_be_sealed_with_another_key_does_not_open() -> None:
    sealed = RING.seal(TOKEN, USER, Kind.REFRESH)
    with pytest.raises(TokenUnreadable) as error:
        RING.open(sealed, USER, Kind.REFRESH, "old")
    assert error.value.reason == "tampered"


def test_the_key_id_is_bound_even_where_two_ids_have_one_key() -> None:
    one = KeyRing({"a": KEYS["old"], "b": KEYS["old"]}, "a")
    with pytest.raises(TokenUnreadable) as error:
        one.open(one.seal(TOKEN, USER, Kind.REFRESH), USER, Kind.REFRESH, "b")
    assert error.value.reason == "tampered"


def test_a_key_that_is_not_here_is_named() -> None:
    with pytest.raises(TokenUnreadable, match="'lost'") as error:
        RING.open(RING.seal(TOKEN, USER, Kind.REFRESH), USER, Kind.REFRESH, "lost")
    assert error.value.reason == "unknown_key"


@pytest.mark.parametrize("version", [0, 2, 255])
def test_another_version_of_the_form_is_refused_as_such(version: int) -> None:
    raw = bytearray(b64decode(RING.seal(TOKEN, USER, Kind.REFRESH)))
    raw[0] = version
    with pytest.raises(TokenUnreadable, match=f"version {version}") as error:
        RING.open(b64encode(raw).decode(), USER, Kind.REFRESH, "new")
    assert error.value.reason == "unknown_version"


@pytest.mark.parametrize("sealed", ["", "AQ==", TOKEN, "ünlesbar", b64encode(b"\1" * 28).decode()])
def test_what_is_not_in_the_sealed_form_is_refused_without_being_repeated(sealed: str) -> None:
    with pytest.raises(TokenUnreadable) as error:
        RING.open(sealed, USER, Kind.REFRESH, "new")
    assert error.value.reason == "unreadable"
    assert not sealed or sealed not in str(error.value)


def test_an_older_key_still_opens() -> None:
    sealed = KeyRing(KEYS, "old").seal(TOKEN, USER, Kind.ACCESS)
    assert RING.open(sealed, USER, Kind.ACCESS, "old") == TOKEN


def test_one_key_needs_not_be_named_and_more_do() -> None:
    assert KeyRing({"only": KEYS["old"]}).key_id == "only"
    with pytest.raises(ValueError, match="more than one"):
        KeyRing(KEYS)
    with pytest.raises(ValueError, match="'absent', which is not among old, new"):
        KeyRing(KEYS, "absent")


def test_a_ring_does_not_show_its_keys() -> None:
    assert repr(RING) == "KeyRing(key_id='new', ids=('old', 'new'))"


SHORT = b64encode(b"CANARY-CANARY-CANARY").decode()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("CANARY", "must be JSON"),
        ("{}", "must be JSON"),
        ('["CANARY"]', "must be JSON"),
        ('{"k1": 7}', "the key 'k1' must be base64 of 32 bytes"),
        ('{"k1": "CANARY"}', "the key 'k1' must be base64"),
        (json.dumps({"k1": SHORT}), "the key 'k1' must be base64 of 32 bytes"),
        (json.dumps({new_key(): "CANARY"}), "has a key id that is not"),
        (json.dumps({"k1": b64encode(b"C" * 32).decode()}), "'k1' is not random"),
        (json.dumps(dict.fromkeys(("a", "b"), new_key())), "'b' is the same as another"),
    ],
)
def test_bad_keys_are_refused_by_id_and_without_their_value(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as refused:
        read_keys(load_keys(text))
    told = str(refused.value)
    assert "CANARY" not in told
    assert SHORT not in told
    assert (
        all(key not in told for key in json.loads(text) if len(key) > 40) if "{" in text else True
    )
