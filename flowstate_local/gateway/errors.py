"""What the gateway itself answers when it refuses or cannot pass a request on.

    GatewayError               a status, a JSON body, and the headers that go with it
    ├── (auth/errors.py)       AuthError: Auth has its own shape
    └── UpstreamError          502 or 503: the part behind the gateway did not answer

Each prefix answers in the shape of the hosted service, because clients parse it: PostgREST's
`code, message, details, hint`, Auth's `code, error_code, msg`, the gateway's `message, hint`.
"""

import logging
import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import psycopg
from aiohttp import web

logger = logging.getLogger("flowstate.gateway")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class GatewayError(Exception):
    """A refusal with its HTTP status and JSON body."""

    def __init__(
        self, status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.body = body
        self.headers = headers

    def response(self) -> web.Response:
        return web.json_response(self.body, status=self.status, headers=self.headers)


class UpstreamError(GatewayError):
    """The part behind the gateway is down (503) or broke off in mid-answer (502).

    After a 502 nobody knows whether the request took effect; after a 503 it certainly did not.
    """

    def __init__(self, part: str, *, reached: bool) -> None:
        what = "broke off before it had answered" if reached else "is not running"
        hint = "see its log in the stack's logs folder, and `flowstate status`"
        super().__init__(
            502 if reached else 503,
            {"code": "upstream", "message": f"{part} {what}", "details": None, "hint": hint},
        )


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn everything that handlers raise into JSON; nothing of a request reaches the log."""
    try:
        return await handler(request)
    except GatewayError as error:
        return error.response()
    except web.HTTPNotFound:
        return web.json_response({"message": "no Route matched with those values"}, status=404)
    except web.HTTPException as error:
        return web.json_response({"message": error.reason}, status=error.status)
    except psycopg.OperationalError:
        return UpstreamError("database", reached=False).response()
    except Exception as error:
        # Frames, not the message: a database error quotes the row that it refused.
        frames = "".join(traceback.format_tb(error.__traceback__))
        logger.error("unexpected %s\n%s", type(error).__name__, frames)  # noqa: TRY400
        return web.json_response({"code": 500, "message": "Internal Server Error"}, status=500)
