"""The gateway's own way to Postgres, for Auth's tables and Realtime's permission checks.

As hosted, each comes as a role of its own: Auth as supabase_auth_admin, who may do nothing outside
of its schema, so that a trigger or a hook that would fail there fails here; Realtime as a superuser
that takes on the role of whoever asks.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from psycopg import AsyncConnection, AsyncCursor
from psycopg.rows import DictRow, dict_row

Cursor = AsyncCursor[DictRow]

MAX_CONNECTIONS = 10


class Database:
    """Short transactions, each on a connection of its own.

    No pool: sign-ins and joins are rare, connecting over loopback costs milliseconds, and a
    connection that is never kept cannot be a broken one after Postgres has restarted.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._slots = asyncio.Semaphore(MAX_CONNECTIONS)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Cursor]:
        """A cursor whose work is committed at the end of the block, or rolled back if it raises.

        Raises:
            psycopg.OperationalError: Postgres is not there; answered as 503.
        """
        async with (
            self._slots,
            await AsyncConnection.connect(self._url, connect_timeout=5) as connection,
            connection.cursor(row_factory=dict_row) as cursor,
        ):
            yield cursor
