"""One joined topic on one connection, with the token that it was joined with."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..tokens import Claims
from .wire import Message

TOPIC_PREFIX = "realtime:"
"""Clients put it before a channel's name on the wire; policies and realtime.send see the name."""


@dataclass(slots=True, eq=False)
class Channel:
    """`name` is the channel's name as policies see it; `wire_topic` is what frames carry."""

    name: str
    wire_topic: str
    join_ref: str | None
    private: bool
    acknowledges: bool
    echoes: bool
    token: str
    claims: Claims
    push: Callable[[Message], None]
    may_send: bool | None = None
    """Asked of Postgres at the first broadcast, and again after a new token."""
    cancel_expiry: Callable[[], None] = field(default=lambda: None)

    def deliver(self, payload: dict[str, Any]) -> None:
        self.push(Message(self.wire_topic, "broadcast", payload))


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """The `config` of a phx_join, with Realtime's defaults for what is left out."""

    private: bool
    acknowledges: bool
    echoes: bool
    presence: bool
    postgres_changes: list[Any]
    access_token: str | None

    @classmethod
    def of(cls, payload: dict[str, Any]) -> "JoinRequest":
        config = _object(payload.get("config"))
        broadcast, presence = _object(config.get("broadcast")), _object(config.get("presence"))
        changes = config.get("postgres_changes")
        token = payload.get("access_token")
        return cls(
            private=config.get("private") is True,
            acknowledges=broadcast.get("ack") is True,
            echoes=broadcast.get("self") is True,
            presence=presence.get("enabled") is True,
            postgres_changes=changes if isinstance(changes, list) else [],
            access_token=token if isinstance(token, str) and token else None,
        )


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
