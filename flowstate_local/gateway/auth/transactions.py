"""Auth's transactions: what one request changes is there as a whole, or not at all."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from aiohttp import web

from ..database import Cursor, Database
from .errors import DatabaseRefusal

AUTH_DATABASE = web.AppKey("auth_database", Database)
"""The way to Postgres as supabase_auth_admin."""


@asynccontextmanager
async def transaction(request: web.Request) -> AsyncIterator[Cursor]:
    """A cursor whose work is committed at the end of the block, or rolled back if it raises.

    Raises:
        DatabaseRefusal: a trigger refused with a status of its own.
    """
    try:
        async with request.app[AUTH_DATABASE].transaction() as cursor:
            yield cursor
    except psycopg.Error as error:
        refusal = DatabaseRefusal.of(error)
        if refusal is None:
            raise
        raise refusal from error
