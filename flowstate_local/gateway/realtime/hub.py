"""Who has joined which topic, and delivery to them. Public and private topics never meet."""

from collections import defaultdict
from typing import Any

from aiohttp import web

from .channel import Channel


class Hub:
    """The joined channels of all connections. Delivery only queues; it never waits for a client."""

    def __init__(self) -> None:
        self._channels: dict[tuple[str, bool], set[Channel]] = defaultdict(set)

    def add(self, channel: Channel) -> None:
        self._channels[channel.name, channel.private].add(channel)

    def remove(self, channel: Channel) -> None:
        key = (channel.name, channel.private)
        self._channels[key].discard(channel)
        if not self._channels[key]:
            del self._channels[key]

    def publish(
        self,
        name: str,
        *,
        private: bool,
        event: str,
        payload: Any,
        sender: Channel | None = None,
        message_id: str | None = None,
    ) -> None:
        """Deliver one broadcast to everyone on the topic, except its sender unless it echoes.

        `message_id` is set for messages from the database, and repeated in the payload of objects
        that have no `id` of their own, as Realtime does.
        """
        if message_id is not None and isinstance(payload, dict):
            payload = {"id": message_id, **payload}
        body: dict[str, Any] = {"type": "broadcast", "event": event, "payload": payload}
        if message_id is not None:
            body["meta"] = {"id": message_id}
        for channel in tuple(self._channels.get((name, private), ())):
            if channel is not sender or channel.echoes:
                channel.deliver(body)


HUB = web.AppKey("hub", Hub)
