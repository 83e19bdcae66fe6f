"""Phoenix frames in both versions, without a server: what is encoded, decoded and refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowstate_local.gateway.realtime.wire import FrameError, Message, Version, decode, encode

BROADCAST = Message("realtime:room", "broadcast", {"type": "broadcast", "event": "e", "payload": 1})


def push_frame(topic: bytes, event: bytes, encoding: int, payload: bytes) -> bytes:
    """A broadcast as supabase-js sends it: kind 3, five lengths, the encoding, then the fields."""
    return (
        bytes([3, 1, 2, len(topic), len(event), 0, encoding])
        + b"1"
        + b"22"
        + topic
        + event
        + payload
    )


def test_a_push_of_version_1_has_a_null_ref() -> None:
    frame = encode(BROADCAST, "1.0.0")
    assert isinstance(frame, str)
    assert json.loads(frame) == {
        "topic": "realtime:room",
        "event": "broadcast",
        "payload": {"type": "broadcast", "event": "e", "payload": 1},
        "ref": None,
    }


def test_a_push_of_version_2_is_an_array_of_five() -> None:
    frame = encode(BROADCAST, "2.0.0")
    assert isinstance(frame, str)
    assert json.loads(frame) == [None, None, "realtime:room", "broadcast", BROADCAST.payload]


def test_a_binary_broadcast_is_read_as_json_or_bytes() -> None:
    as_json = decode(push_frame("realtime:ü".encode(), b"e", 1, b'{"a": 1}'), "2.0.0")
    assert as_json == Message(
        "realtime:ü",
        "broadcast",
        {"type": "broadcast", "event": "e", "payload": {"a": 1}},
        "22",
        "1",
    )
    as_bytes = decode(push_frame(b"realtime:t", b"e", 0, b"\x00\xff"), "2.0.0")
    assert as_bytes.payload["payload"] == b"\x00\xff"


def test_bytes_go_to_version_2_in_a_binary_frame_and_not_at_all_to_version_1() -> None:
    message = Message("realtime:t", "broadcast", {"event": "ev", "payload": b"\x00\xff"})
    assert encode(message, "2.0.0") == b"\x04\x0a\x02\x00\x00realtime:tev\x00\xff"
    assert encode(message, "1.0.0") is None


@pytest.mark.parametrize(
    ("frame", "version"),
    [
        ("{", "1.0.0"),
        ("[]", "1.0.0"),
        ('{"topic": 1, "event": "e"}', "1.0.0"),
        ("{}", "2.0.0"),
        ("[1, 2]", "2.0.0"),
        ('[null, null, null, "e", {}]', "2.0.0"),
        (b"", "2.0.0"),
        (b"\x09" * 9, "2.0.0"),
        (b"\x03\xff\x00\x00\x00\x00\x01", "2.0.0"),
        (push_frame(b"\xff", b"e", 0, b""), "2.0.0"),
        (push_frame(b"t", b"e", 1, b"not json"), "2.0.0"),
    ],
)
def test_a_frame_that_is_not_the_protocols_is_refused(frame: str | bytes, version: Version) -> None:
    with pytest.raises(FrameError):
        decode(frame, version)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused_and_never_crash(frame: bytes) -> None:
    try:
        decode(b"\x03" + frame, "2.0.0")
    except FrameError:
        pass
