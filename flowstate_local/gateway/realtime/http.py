"""`/realtime/v1` over HTTP: the WebSocket's handshake, and broadcasts that are POSTed.

    GET  /realtime/v1/websocket                               join channels
    POST /realtime/v1/api/broadcast                           a batch of messages
    POST /realtime/v1/api/broadcast/<topic>/events/<event>    one message, ?private=true

A batch is `{"messages": [{topic, event, payload, private}]}`. Sending to a private topic needs the
same permission as sending on a joined channel.
"""

import json
import weakref
from typing import Any

from aiohttp import WSCloseCode, web

from ..config import GatewayConfig
from ..database import Database
from ..errors import GatewayError
from ..keys import BEARER, KEYRING, ROLE
from ..tokens import TokenError, verify
from .access import Access
from .connection import Connection
from .hub import Hub
from .wire import Version

PREFIX = "/realtime/v1"
MAX_FRAME_BYTES = 3 * 1024 * 1024
SILENCE_SECONDS = 60.0
"""Clients send a heartbeat every 25 s; Phoenix gives a silent one up after 60 s."""


class RealtimeRoutes:
    """The HTTP side of Realtime. `close` ends every connection, so that clients reconnect."""

    def __init__(self, config: GatewayConfig, database: Database, hub: Hub) -> None:
        self._jwt_secret = config.jwt_secret
        self._access = Access(database)
        self._hub = hub
        self._sockets: weakref.WeakSet[web.WebSocketResponse] = weakref.WeakSet()

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_get(f"{PREFIX}/websocket", self.connect)
        router.add_post(f"{PREFIX}/api/broadcast", self.send_batch)
        router.add_post(f"{PREFIX}/api/broadcast/{{topic}}/events/{{event}}", self.send_one)

    async def close(self, _: web.Application) -> None:
        for socket in set(self._sockets):
            await socket.close(code=WSCloseCode.GOING_AWAY, message=b"the gateway stops")

    async def connect(self, request: web.Request) -> web.StreamResponse:
        version: Version
        match request.query.get("vsn", "1.0.0"):
            case "1.0.0":
                version = "1.0.0"
            case "2.0.0":
                version = "2.0.0"
            case _:
                raise GatewayError(400, {"message": "vsn must be 1.0.0 or 2.0.0"})
        assert request.transport is not None
        socket = web.WebSocketResponse(
            max_msg_size=MAX_FRAME_BYTES, receive_timeout=SILENCE_SECONDS, timeout=0.5
        )
        await socket.prepare(request)
        self._sockets.add(socket)
        connection = Connection(
            socket,
            version,
            request.app[KEYRING].jwt_of(
                "service_role" if request[ROLE] == "service_role" else "anon"
            ),
            jwt_secret=self._jwt_secret,
            access=self._access,
            hub=self._hub,
            abort=request.transport.abort,
        )
        await connection.serve()
        return socket

    async def send_batch(self, request: web.Request) -> web.Response:
        try:
            body = json.loads(await request.read())
        except ValueError:
            body = None
        messages = body.get("messages") if isinstance(body, dict) else None
        if not isinstance(messages, list) or not messages:
            raise _unprocessable("messages", "must be a list of {topic, event, payload, private}")
        for number, message in enumerate(messages):
            if not isinstance(message, dict) or not all(
                isinstance(message.get(field), str) and message[field]
                for field in ("topic", "event")
            ):
                raise _unprocessable(f"messages.{number}", "topic and event must be text")
        for message in messages:
            await self._send(
                request,
                message["topic"],
                message["event"],
                message.get("payload", {}),
                private=message.get("private") is True,
            )
        return web.Response(status=202)

    async def send_one(self, request: web.Request) -> web.Response:
        payload: Any = await request.read()
        if request.content_type != "application/octet-stream":
            try:
                payload = json.loads(payload)
            except ValueError as error:
                raise _unprocessable("body", "must be JSON or application/octet-stream") from error
        await self._send(
            request,
            request.match_info["topic"],
            request.match_info["event"],
            payload,
            private=request.query.get("private") == "true",
        )
        return web.Response(status=202)

    async def _send(
        self, request: web.Request, name: str, event: str, payload: Any, *, private: bool
    ) -> None:
        try:
            claims = verify(request[BEARER], self._jwt_secret)
        except TokenError as error:
            raise GatewayError(401, {"message": f"Invalid JWT: {error}"}) from error
        if private and not await self._access.may_send(name, claims):
            message = f"You do not have permissions to write to this Channel topic: {name}"
            raise GatewayError(403, {"message": message})
        self._hub.publish(name, private=private, event=event, payload=payload)


def _unprocessable(field: str, reason: str) -> GatewayError:
    return GatewayError(422, {"message": f"{field} {reason}", "errors": {field: [reason]}})
