"""A bare WebSocket that shows frames as they are, where a client library would hide them."""

import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from flowstate_local import StackInfo

from .waiting import soon


class Phoenix:
    """Speaks either protocol version; received frames come as {topic, event, payload, ref, …}."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, version: str) -> None:
        self.socket = socket
        self.version = version
        self._refs = itertools.count(1)

    async def send(
        self, topic: str, event: str, payload: dict[str, Any], *, join_ref: str | None = None
    ) -> str:
        ref = str(next(self._refs))
        if self.version == "2.0.0":
            await self.socket.send_json([join_ref or ref, ref, topic, event, payload])
        else:
            await self.socket.send_json(
                {"topic": topic, "event": event, "payload": payload, "ref": ref}
            )
        return ref

    async def receive(self) -> dict[str, Any]:
        frame = await soon(self.socket.receive())
        assert frame.type is aiohttp.WSMsgType.TEXT, frame
        data = json.loads(frame.data)
        if self.version == "1.0.0":
            assert set(data) == {"topic", "event", "payload", "ref"}
            return dict(data)
        assert len(data) == 5
        return dict(zip(("join_ref", "ref", "topic", "event", "payload"), data, strict=True))

    async def ask(self, topic: str, event: str, payload: dict[str, Any]) -> dict[str, Any]:
        """Send, and give the reply's payload; nothing else may come first."""
        ref = await self.send(topic, event, payload)
        answer = await self.receive()
        assert (answer["event"], answer["ref"], answer["topic"]) == ("phx_reply", ref, topic)
        return dict(answer["payload"])

    async def join(self, name: str, **options: Any) -> dict[str, Any]:
        """Join a channel. `token`: the access token; `private`, `ack` and the like: flags."""
        payload: dict[str, Any] = {
            "config": {
                "broadcast": {"ack": options.get("ack", False), "self": options.get("echo", False)},
                "presence": {"key": "", "enabled": options.get("presence", False)},
                "postgres_changes": options.get("postgres_changes", []),
                "private": options.get("private", False),
            }
        }
        if "token" in options:
            payload["access_token"] = options["token"]
        return await self.ask(f"realtime:{name}", "phx_join", payload)


@asynccontextmanager
async def phoenix(
    http: aiohttp.ClientSession, info: StackInfo, version: str, key: str | None = None
) -> AsyncIterator[Phoenix]:
    query = {"apikey": key or info.publishable_key, "vsn": version}
    url = f"{info.api_url}/realtime/v1/websocket"
    async with http.ws_connect(url, params=query) as socket:
        yield Phoenix(socket, version)
