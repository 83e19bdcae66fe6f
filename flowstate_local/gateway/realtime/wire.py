"""Phoenix channel frames, in the two versions of the protocol that Supabase clients speak.

1.0.0 (supabase-py): JSON objects `{topic, event, payload, ref}`.
2.0.0 (supabase-js): JSON arrays `[join_ref, ref, topic, event, payload]`, and two binary frames for
broadcasts. Clients send kind 3, with one length byte for each header field:

    3, |join_ref|, |ref|, |topic|, |event|, |metadata|, encoding, join_ref, ref, topic, event,
    metadata, payload            encoding 0: the payload is bytes, 1: it is JSON

and understand kind 4: `4, |topic|, |event|, |metadata|, encoding, topic, event, metadata, payload`.
The server sends kind 4 only for payloads of bytes; JSON goes as text, which every client reads.
"""

import json
from dataclasses import dataclass
from typing import Any, Literal

Version = Literal["1.0.0", "2.0.0"]

PUSH_KIND = 3
BROADCAST_KIND = 4
BYTES_ENCODING = 0


class FrameError(ValueError):
    """A frame that is not the protocol's; the connection is closed, as Phoenix does."""


@dataclass(frozen=True, slots=True)
class Message:
    """One frame. `payload["payload"]` of a broadcast may be bytes."""

    topic: str
    event: str
    payload: dict[str, Any]
    ref: str | None = None
    join_ref: str | None = None


def encode(message: Message, version: Version) -> str | bytes | None:
    """The frame for a client of this version; None when the version cannot say it."""
    body = message.payload.get("payload") if message.event == "broadcast" else None
    if isinstance(body, bytes):
        return _encode_bytes(message, body) if version == "2.0.0" else None
    if version == "2.0.0":
        fields = [message.join_ref, message.ref, message.topic, message.event, message.payload]
        return json.dumps(fields, separators=(",", ":"))
    # `ref` is there even when null: supabase-py drops pushes without it.
    frame = {
        "topic": message.topic,
        "event": message.event,
        "payload": message.payload,
        "ref": message.ref,
    }
    return json.dumps(frame, separators=(",", ":"))


def decode(frame: str | bytes, version: Version) -> Message:
    """What a client of this version has sent.

    Raises:
        FrameError: not JSON, not of the version's shape, or a cut-off binary frame.
    """
    if isinstance(frame, bytes):
        return _decode_bytes(frame)
    try:
        data = json.loads(frame)
    except ValueError as error:
        raise FrameError("not JSON") from error
    if version == "2.0.0":
        if not isinstance(data, list) or len(data) != 5:
            raise FrameError("not an array of five")
        join_ref, ref, topic, event, payload = data
    else:
        if not isinstance(data, dict):
            raise FrameError("not an object")
        topic, event, payload = data.get("topic"), data.get("event"), data.get("payload")
        join_ref, ref = data.get("join_ref"), data.get("ref")
    if not isinstance(topic, str) or not isinstance(event, str):
        raise FrameError("topic and event must be strings")
    return Message(
        topic=topic,
        event=event,
        payload=payload if isinstance(payload, dict) else {},
        ref=None if ref is None else str(ref),
        join_ref=None if join_ref is None else str(join_ref),
    )


def _decode_bytes(frame: bytes) -> Message:
    header = 7
    if len(frame) < header or frame[0] != PUSH_KIND:
        raise FrameError("not a broadcast frame")
    texts: list[str] = []
    offset = header
    for size in frame[1:6]:
        if offset + size > len(frame):
            raise FrameError("cut off")
        try:
            texts.append(frame[offset : offset + size].decode())
        except UnicodeDecodeError as error:
            raise FrameError("not UTF-8") from error
        offset += size
    join_ref, ref, topic, user_event, _metadata = texts
    body: Any = frame[offset:]
    if frame[6] != BYTES_ENCODING:
        try:
            body = json.loads(body)
        except ValueError as error:
            raise FrameError("payload is not JSON") from error
    return Message(
        topic=topic,
        event="broadcast",
        payload={"type": "broadcast", "event": user_event, "payload": body},
        ref=ref or None,
        join_ref=join_ref or None,
    )


def _encode_bytes(message: Message, body: bytes) -> bytes | None:
    topic, event = message.topic.encode(), str(message.payload["event"]).encode()
    if len(topic) > 255 or len(event) > 255:
        return None
    header = bytes([BROADCAST_KIND, len(topic), len(event), 0, BYTES_ENCODING])
    return header + topic + event + body
