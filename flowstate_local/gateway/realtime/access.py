"""May a token receive from, or send to, a private topic? Policies on realtime.messages decide.

As in Realtime itself: in a transaction that is always rolled back, a probe row for the topic is
written, then the token's role and claims and the setting `realtime.topic` are put on, and the row
is looked for (may receive) or one is written in that role (may send). The service role bypasses.
"""

import json

from psycopg import errors as sql_errors

from ..database import Cursor, Database
from ..tokens import Claims

SERVICE_ROLE = "service_role"


class Access:
    """The two questions, each one short transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def may_receive(self, name: str, claims: Claims) -> bool:
        """Whether SELECT policies show this token messages of the topic.

        Raises:
            psycopg.OperationalError: Postgres is not there.
        """
        if claims["role"] == SERVICE_ROLE:
            return True
        async with self._database.transaction() as cursor:
            try:
                await cursor.execute(
                    """insert into realtime.messages (topic, extension)
                       values (%s, 'broadcast') returning id""",
                    (name,),
                )
                probe = await cursor.fetchone()
                assert probe is not None
                await _become(cursor, name, claims)
                await cursor.execute(
                    """select 1 from realtime.messages
                       where id = %s and topic = %s and extension = 'broadcast'""",
                    (probe["id"], name),
                )
                return await cursor.fetchone() is not None
            except (sql_errors.InsufficientPrivilege, sql_errors.InvalidParameterValue):
                return False
            finally:
                await cursor.connection.rollback()

    async def may_send(self, name: str, claims: Claims) -> bool:
        """Whether INSERT policies let this token write messages of the topic.

        Raises:
            psycopg.OperationalError: Postgres is not there.
        """
        if claims["role"] == SERVICE_ROLE:
            return True
        async with self._database.transaction() as cursor:
            try:
                await _become(cursor, name, claims)
                await cursor.execute(
                    "insert into realtime.messages (topic, extension) values (%s, 'broadcast')",
                    (name,),
                )
            except (sql_errors.InsufficientPrivilege, sql_errors.InvalidParameterValue):
                return False
            finally:
                await cursor.connection.rollback()
            return True


async def _become(cursor: Cursor, name: str, claims: Claims) -> None:
    """Take on the token's role and claims until the transaction ends."""
    await cursor.execute(
        """select set_config('request.jwt.claims', %s, true),
                  set_config('realtime.topic', %s, true),
                  set_config('role', %s, true)""",
        (json.dumps(dict(claims)), name, str(claims["role"])),
    )
