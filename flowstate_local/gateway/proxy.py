"""Passing a request on and its answer back, both streamed, over a keep-alive pool."""

from collections.abc import Mapping

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from .errors import UpstreamError

HTTP = web.AppKey("http", aiohttp.ClientSession)

HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers about one connection, not about the message (RFC 9110, 7.6.1)."""

BODILESS_STATUSES = frozenset({204, 304})


def new_session() -> aiohttp.ClientSession:
    """The pool to the parts behind the gateway.

    No total time-out: a statement may rightly take minutes, and its own time-out is Postgres'.
    Idle connections go before PostgREST closes them (30 s), so that no POST meets a closed one.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=256, keepalive_timeout=15),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=5),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
    )


async def forward(
    request: web.Request, target: URL, *, part: str, headers: Mapping[str, str]
) -> web.StreamResponse:
    """Send the request to `target` with `headers` laid over its own; stream the answer back.

    Raises:
        UpstreamError: `part` did not answer, or broke off before its answer had begun.
    """
    response: web.StreamResponse | None = None
    try:
        async with request.app[HTTP].request(
            request.method,
            target,
            headers=_request_headers(request, headers),
            data=request.content if request.body_exists else None,
            allow_redirects=False,
        ) as upstream:
            response = web.StreamResponse(
                status=upstream.status,
                reason=upstream.reason,
                headers=_end_to_end(upstream.headers),
            )
            if request.method == "HEAD" or upstream.status in BODILESS_STATUSES:
                return response
            return await _pass_body(request, upstream, response)
    except aiohttp.ClientConnectorError as error:
        raise UpstreamError(part, reached=False) from error
    except aiohttp.ClientError as error:
        if response is not None and response.prepared:
            # The status has gone out already: only a broken connection can still say "incomplete".
            if request.transport is not None:
                request.transport.abort()
            return response
        raise UpstreamError(part, reached=True) from error


async def _pass_body(
    request: web.Request, upstream: aiohttp.ClientResponse, response: web.StreamResponse
) -> web.StreamResponse:
    first = await upstream.content.readany()
    if upstream.content.at_eof():
        # Most answers fit one read: one write with a length is twice as fast as chunks.
        return web.Response(
            status=response.status, reason=response.reason, headers=response.headers, body=first
        )
    await response.prepare(request)
    await response.write(first)
    async for chunk in upstream.content.iter_any():
        await response.write(chunk)
    await response.write_eof()
    return response


def _request_headers(request: web.Request, laid_over: Mapping[str, str]) -> CIMultiDict[str]:
    headers = _end_to_end(request.headers)
    headers.popall("Host", None)
    # The list so far, then who spoke to us: the client comes first, if the proxies are honest.
    came_by = [*headers.popall("X-Forwarded-For", []), request.remote or "unknown"]
    headers["X-Forwarded-For"] = ", ".join(came_by)
    # What the client asked for is known to the first proxy only.
    headers.setdefault("X-Forwarded-Host", request.host)
    headers.setdefault("X-Forwarded-Proto", request.scheme)
    headers.update(laid_over)
    return headers


def _end_to_end(headers: Mapping[str, str]) -> CIMultiDict[str]:
    return CIMultiDict((name, v) for name, v in headers.items() if name.lower() not in HOP_BY_HOP)
