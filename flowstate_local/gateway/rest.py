"""`/rest/v1`: PostgREST, with the prefix taken off and the caller's JWT put on."""

from aiohttp import web
from yarl import URL

from .keys import BEARER
from .proxy import forward

PREFIX = "/rest/v1"

POSTGREST = web.AppKey("postgrest", str)
"""PostgREST's origin, without a slash at its end."""


async def handle(request: web.Request) -> web.StreamResponse:
    # As it was written: decoding and encoding again would change what a filter means.
    target = request.app[POSTGREST] + request.rel_url.raw_path_qs.removeprefix(PREFIX)
    return await forward(
        request,
        URL(target, encoded=True),
        part="PostgREST",
        headers={"Authorization": f"Bearer {request[BEARER]}"},
    )
