"""Makes the Supabase client that a service uses.

Under it lies aiohttp by way of `httpx-aiohttp`: the client wants httpx's interface, and httpx's own
pool spends most of its time in itself when calls run side by side (figures in docs/worker.md). The
client never signs in, since every auth event would rebuild it, and it refreshes no token.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport
from supabase import AsyncClient, AsyncClientOptions, acreate_client

last_status: ContextVar[int | None] = ContextVar("last_status", default=None)
"""Status of the last answer in this context: the client's own errors do not carry it."""


async def _note_status(response: httpx.Response) -> None:
    last_status.set(response.status_code)


@asynccontextmanager
async def supabase_client(
    url: str, key: str, *, timeout_seconds: float = 15.0, connections: int = 20
) -> AsyncIterator[AsyncClient]:
    """An `AsyncClient` for `url` that acts with `key`, closed at the end of the block.

    `timeout_seconds` bounds connecting and each wait for data, not the call as a whole.
    """

    def session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=connections, keepalive_timeout=30),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    http = httpx.AsyncClient(
        transport=AiohttpTransport(client=session),
        timeout=httpx.Timeout(timeout_seconds),
        event_hooks={"response": [_note_status]},
    )
    async with http:
        yield await acreate_client(
            url,
            key,
            options=AsyncClientOptions(
                auto_refresh_token=False,
                persist_session=False,
                postgrest_client_retry=False,  # retries are ours: with jitter, and counted
                httpx_client=http,
            ),
        )
