"""Cross-origin answers for browsers: any origin, as on hosted projects, since keys guard the data.

A function answers for itself, preflight included, exactly as when it is deployed; what the gateway
says in a function's place is readable from a browser too.
"""

from aiohttp import web

from .errors import Handler

FROM_FUNCTION = web.RequestKey("from_function", bool)
"""Set when the answer is a function's own: its headers are left as they are."""

ALLOWED_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
EXPOSED_HEADERS = (
    "Content-Encoding, Content-Location, Content-Range, Content-Type, Date, Link, Location, "
    "Preference-Applied, Range-Unit, Retry-After, X-Total-Count"
)


@web.middleware
async def answer_preflight(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer a browser's preflight, which carries no key, before keys are asked for."""
    is_preflight = (
        request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
    )
    if not is_preflight or request.path.startswith("/functions/"):
        return await handler(request)
    wanted = request.headers.get("Access-Control-Request-Headers", "*")
    return web.Response(
        status=204,
        headers={
            "Access-Control-Allow-Methods": ALLOWED_METHODS,
            "Access-Control-Allow-Headers": wanted,
            "Access-Control-Max-Age": "3600",
        },
    )


async def open_to_browsers(request: web.Request, response: web.StreamResponse) -> None:
    """Mark every answer as readable from any page, just before its headers are sent."""
    if request.get(FROM_FUNCTION):
        return
    response.headers["Access-Control-Allow-Origin"] = "*"
    response.headers["Access-Control-Expose-Headers"] = EXPOSED_HEADERS
