"""Messages that the database sends: one LISTEN connection, from notification to hub.

`realtime.send` and `realtime.broadcast_changes` notify on `realtime_messages` with a JSON array of
`{id, topic, event, payload, private}`; what does not fit a notification (8,000 bytes) comes as
`{"ids": […]}` and is read from realtime.messages.
"""

import asyncio
import json
import logging
import random
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import dict_row

from .hub import Hub

logger = logging.getLogger("flowstate.gateway.realtime")

NOTIFICATION_CHANNEL = "realtime_messages"
FIRST_DELAY_SECONDS = 0.05
MAX_DELAY_SECONDS = 2.0


class Listener:
    """Listens as long as it runs; after a loss it reconnects with a jittered, growing delay.

    What is sent while it is disconnected is lost to clients, as in the hosted service: whoever
    needs certainty polls as well.
    """

    def __init__(self, url: str, hub: Hub) -> None:
        self._url = url
        self._hub = hub
        self.is_listening = False

    async def run(self) -> None:
        """Never returns; ends by being cancelled."""
        delay = FIRST_DELAY_SECONDS
        while True:
            try:
                async with await self._connect() as connection:
                    delay = FIRST_DELAY_SECONDS
                    await self._listen(connection)
            except psycopg.Error as error:
                if self.is_listening:
                    logger.warning("listening to Postgres ended: %s", type(error).__name__)
            finally:
                self.is_listening = False
            # Jitter is for spreading, not for secrecy.
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311
            delay = min(delay * 2, MAX_DELAY_SECONDS)

    async def _connect(self) -> AsyncConnection[dict[str, Any]]:
        return await AsyncConnection.connect(
            self._url, autocommit=True, row_factory=dict_row, connect_timeout=5
        )

    async def _listen(self, connection: AsyncConnection[dict[str, Any]]) -> None:
        await connection.execute(f"listen {NOTIFICATION_CHANNEL}")
        self.is_listening = True
        logger.info("listening to Postgres")
        while True:
            # Collected before they are handled: while it yields, the generator keeps the connection
            # to itself, and large messages are read over the same one.
            received = [one.payload async for one in connection.notifies(stop_after=1)]
            for text in received:
                for message in await self._messages(connection, text):
                    self._publish(message)

    async def _messages(
        self, connection: AsyncConnection[dict[str, Any]], text: str
    ) -> list[dict[str, Any]]:
        try:
            data = json.loads(text)
        except ValueError:
            logger.warning("a notification on %s is not JSON", NOTIFICATION_CHANNEL)
            return []
        items = data if isinstance(data, list) else [data]
        messages = []
        for item in items:
            if isinstance(item, dict) and "ids" in item:
                rows = await connection.execute(
                    """select id::text, topic, event, payload, private from realtime.messages
                       where id = any(%s::uuid[]) order by inserted_at""",
                    (item["ids"],),
                )
                messages += await rows.fetchall()
            elif isinstance(item, dict):
                messages.append(item)
        return messages

    def _publish(self, message: dict[str, Any]) -> None:
        if message.get("event") is None or message.get("topic") is None:
            return  # rows that only record a permission check or an extension of another kind
        self._hub.publish(
            str(message["topic"]),
            private=message.get("private") is not False,
            event=str(message["event"]),
            payload=message.get("payload"),
            message_id=str(message["id"]) if message.get("id") else None,
        )
