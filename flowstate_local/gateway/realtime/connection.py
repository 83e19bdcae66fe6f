"""One WebSocket: its frames in, its frames out, and the channels that it has joined."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import psycopg
from aiohttp import WSCloseCode, WSMsgType, web

from ..tokens import Claims, TokenError, TokenExpiredError, seconds_left, verify
from .access import Access
from .channel import TOPIC_PREFIX, Channel, JoinRequest
from .hub import Hub
from .wire import FrameError, Message, Version, decode, encode

logger = logging.getLogger("flowstate.gateway.realtime")

HEARTBEAT_TOPIC = "phoenix"
MAX_QUEUED_FRAMES = 2000
"""A client that is this far behind is cut off rather than held in memory."""


class RefusedError(Exception):
    """A join that is not granted; the message becomes the `reason` that the client reports."""


class Connection:
    """Serves one socket until it closes. Frames are handled in the order in which they come."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        version: Version,
        key_token: str,
        *,
        jwt_secret: str,
        access: Access,
        hub: Hub,
        abort: Callable[[], None],
    ) -> None:
        """`abort` cuts the TCP connection; a close frame would wait behind what nobody reads."""
        self._socket = socket
        self._version = version
        self._key_token = key_token
        self._jwt_secret = jwt_secret
        self._access = access
        self._hub = hub
        self._abort = abort
        self._channels: dict[str, Channel] = {}
        self._outgoing: asyncio.Queue[str | bytes] = asyncio.Queue(MAX_QUEUED_FRAMES)

    async def serve(self) -> None:
        """Read until the client goes, or is cut off for reading too slowly."""
        writer = asyncio.create_task(self._write())
        try:
            await self._read()
        finally:
            writer.cancel()
            for topic in list(self._channels):
                self._drop(topic)

    def push(self, message: Message) -> None:
        """Queue a frame for the client; never waits."""
        frame = encode(message, self._version)
        if frame is None:
            return
        try:
            self._outgoing.put_nowait(frame)
        except asyncio.QueueFull:
            logger.warning("cutting off a client that is %d frames behind", MAX_QUEUED_FRAMES)
            for topic in list(self._channels):
                self._drop(topic)
            self._abort()

    async def _read(self) -> None:
        async for frame in self._socket:
            if frame.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                break
            try:
                message = decode(frame.data, self._version)
            except FrameError as error:
                logger.info("closing a connection: %s", error)
                await self._socket.close(code=WSCloseCode.UNSUPPORTED_DATA)
                break
            await self._handle(message)

    async def _write(self) -> None:
        while True:
            frame = await self._outgoing.get()
            try:
                if isinstance(frame, bytes):
                    await self._socket.send_bytes(frame)
                else:
                    await self._socket.send_str(frame)
            except ConnectionError:
                return  # the reader sees the same end

    async def _handle(self, message: Message) -> None:
        match message.event:
            case "heartbeat" if message.topic == HEARTBEAT_TOPIC:
                self._reply(message, "ok", {})
            case "phx_join":
                await self._join(message)
            case "phx_leave":
                self._leave(message)
            case _:
                channel = self._channels.get(message.topic)
                if channel is None:
                    self._reply(message, "error", {"reason": "unmatched topic"})
                else:
                    await self._handle_in(channel, message)

    async def _handle_in(self, channel: Channel, message: Message) -> None:
        match message.event:
            case "broadcast":
                await self._broadcast(channel, message)
            case "access_token":
                await self._new_token(channel, message.payload.get("access_token"))
            case "presence":
                self._reply(message, "ok", {})

    # -- joining and leaving -------------------------------------------------------------------

    async def _join(self, message: Message) -> None:
        join = JoinRequest.of(message.payload)
        name = message.topic.removeprefix(TOPIC_PREFIX)
        try:
            if name == message.topic or not name:
                raise RefusedError("TopicNameRequired: You must provide a topic name")
            if join.postgres_changes:
                raise RefusedError(
                    "PostgresChangesUnsupported: the local stack delivers broadcasts only; "
                    "send one from a trigger with realtime.broadcast_changes"
                )
            token = self._effective(join.access_token)
            claims = self._verified(token)
            if join.private:
                await self._require_receive(name, claims)
        except RefusedError as error:
            self._reply(message, "error", {"reason": str(error)})
            return
        self._drop(message.topic)  # joining again on the same socket replaces
        channel = Channel(
            name=name,
            wire_topic=message.topic,
            join_ref=message.join_ref or message.ref,
            private=join.private,
            acknowledges=join.acknowledges,
            echoes=join.echoes,
            token=token,
            claims=claims,
            push=self.push,
        )
        self._channels[message.topic] = channel
        self._hub.add(channel)
        self._expire_in_time(channel)
        self._reply(message, "ok", {"postgres_changes": join.postgres_changes})
        if join.presence:
            self.push(Message(message.topic, "presence_state", {}, join_ref=channel.join_ref))

    def _leave(self, message: Message) -> None:
        channel = self._channels.get(message.topic)
        self._drop(message.topic)
        self._reply(message, "ok", {})
        if channel is not None:
            self._push_close(channel)

    def _drop(self, topic: str) -> None:
        channel = self._channels.pop(topic, None)
        if channel is not None:
            channel.cancel_expiry()
            self._hub.remove(channel)

    def _shut(self, channel: Channel, reason: str) -> None:
        """End a channel from this side: say why, then close it."""
        if self._channels.get(channel.wire_topic) is not channel:
            return
        self._drop(channel.wire_topic)
        said = {
            "extension": "system",
            "status": "error",
            "message": reason,
            "channel": channel.name,
        }
        self.push(Message(channel.wire_topic, "system", said, join_ref=channel.join_ref))
        self._push_close(channel)

    # -- tokens --------------------------------------------------------------------------------

    def _effective(self, token: str | None) -> str:
        """The token to go by: `sb_` keys and no token at all mean the key of the connection."""
        return self._key_token if token is None or token.startswith("sb_") else token

    def _verified(self, token: str) -> Claims:
        try:
            return verify(token, self._jwt_secret)
        except TokenExpiredError as error:
            raise RefusedError("InvalidJWTToken: Token has expired") from error
        except TokenError as error:
            raise RefusedError(f"MalformedJWT: {error}") from error

    async def _require_receive(self, name: str, claims: Claims) -> None:
        try:
            allowed = await self._access.may_receive(name, claims)
        except psycopg.Error as error:
            logger.warning("a permission could not be checked: %s", type(error).__name__)
            raise RefusedError(
                "UnableToConnectToProject: Realtime was unable to connect to the project database"
            ) from error
        if not allowed:
            raise RefusedError(
                "Unauthorized: You do not have permissions to read from this Channel topic: " + name
            )

    async def _new_token(self, channel: Channel, token: Any) -> None:
        """A refreshed token takes over; one that may no longer receive ends the channel."""
        if not isinstance(token, str) or token.startswith("sb_") or token == channel.token:
            return
        try:
            claims = self._verified(token)
            if channel.private:
                await self._require_receive(channel.name, claims)
        except RefusedError as error:
            self._shut(channel, str(error))
            return
        channel.token, channel.claims, channel.may_send = token, claims, None
        self._expire_in_time(channel)

    def _expire_in_time(self, channel: Channel) -> None:
        channel.cancel_expiry()
        timer = asyncio.get_running_loop().call_later(
            max(0.0, seconds_left(channel.claims)), self._shut, channel, "Token has expired"
        )
        channel.cancel_expiry = timer.cancel

    # -- broadcasting --------------------------------------------------------------------------

    async def _broadcast(self, channel: Channel, message: Message) -> None:
        try:
            if channel.private and channel.may_send is None:
                channel.may_send = await self._access.may_send(channel.name, channel.claims)
        except psycopg.Error as error:
            logger.warning("a private broadcast was dropped: %s", type(error).__name__)
        allowed = not channel.private or channel.may_send is True
        if allowed:
            self._hub.publish(
                channel.name,
                private=channel.private,
                event=str(message.payload.get("event", "")),
                payload=message.payload.get("payload", {}),
                sender=channel,
            )
        if channel.acknowledges:
            refusal = "You do not have permissions to write to this Channel topic: " + channel.name
            reason = {} if allowed else {"reason": f"Unauthorized: {refusal}"}
            self._reply(message, "ok" if allowed else "error", reason)

    def _reply(self, to: Message, status: str, response: dict[str, Any]) -> None:
        payload = {"status": status, "response": response}
        self.push(Message(to.topic, "phx_reply", payload, to.ref, to.join_ref))

    def _push_close(self, channel: Channel) -> None:
        ref = channel.join_ref
        self.push(Message(channel.wire_topic, "phx_close", {}, ref, ref))
