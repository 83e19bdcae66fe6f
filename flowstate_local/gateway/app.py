"""The gateway put together: routes, the order of the checks, and what lives as long as it runs."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator

from aiohttp import web

from . import rest
from .auth import admin as auth_admin
from .auth import routes as auth_routes
from .auth.callers import ISSUER
from .auth.hooks import AccessTokenHook
from .auth.issuer import Issuer
from .auth.transactions import AUTH_DATABASE
from .config import GatewayConfig
from .cors import answer_preflight, open_to_browsers
from .database import Database
from .errors import Handler, answer_errors
from .functions import FunctionsRoute
from .keys import KEYRING, Keyring, require_key
from .proxy import HTTP, new_session
from .realtime.http import RealtimeRoutes
from .realtime.hub import HUB, Hub
from .realtime.listener import Listener

logger = logging.getLogger("flowstate.gateway")

MAX_BODY_BYTES = 4 * 1024 * 1024
"""Of what the gateway reads itself (Auth, broadcasts); what it passes on has no limit here."""

LISTENER = web.AppKey("listener", Listener)


def build(config: GatewayConfig) -> web.Application:
    """The application for one stack; nothing is opened before it starts."""
    app = web.Application(
        middlewares=[log_requests, answer_errors, answer_preflight, require_key],
        client_max_size=MAX_BODY_BYTES,
    )
    database, hub = Database(config.db_url), Hub()
    realtime = RealtimeRoutes(config, database, hub)
    functions = FunctionsRoute(config.functions_url, config.functions_dir, config.jwt_secret)
    app[KEYRING] = Keyring(config)
    hook = AccessTokenHook(config.access_token_hook) if config.access_token_hook else None
    app[ISSUER] = Issuer(config.issuer, config.jwt_secret, hook)
    app[rest.POSTGREST] = config.postgrest_url.rstrip("/")
    app[AUTH_DATABASE], app[HUB] = Database(config.auth_db_url), hub
    app[LISTENER] = Listener(config.db_url, hub)

    app.router.add_get("/health", health)
    app.router.add_route("*", "/rest/v1/{path:.*}", rest.handle)
    app.router.add_route("*", "/functions/v1/{name}", functions.handle)
    app.router.add_route("*", "/functions/v1/{name}/{path:.*}", functions.handle)
    auth_routes.add_routes(app.router)
    auth_admin.add_routes(app.router)
    realtime.add_to(app.router)

    app.on_response_prepare.append(open_to_browsers)
    app.on_shutdown.append(realtime.close)
    app.cleanup_ctx.extend([_http_pool, _listening])
    return app


async def health(request: web.Request) -> web.Response:
    """200 once database messages are heard: only then is a broadcast sure to reach a client."""
    is_listening = request.app[LISTENER].is_listening
    return web.json_response(
        {"status": "ok" if is_listening else "waiting for Postgres"},
        status=200 if is_listening else 503,
    )


@web.middleware
async def log_requests(request: web.Request, handler: Handler) -> web.StreamResponse:
    """One line a request: no query (filters, keys), no headers, no bodies."""
    started = time.perf_counter()
    response = await handler(request)
    milliseconds = (time.perf_counter() - started) * 1000
    logger.info("%s %s %d %.1f ms", request.method, request.path, response.status, milliseconds)
    return response


async def _http_pool(app: web.Application) -> AsyncIterator[None]:
    async with new_session() as session:
        app[HTTP] = session
        yield


async def _listening(app: web.Application) -> AsyncIterator[None]:
    running = asyncio.create_task(app[LISTENER].run())
    yield
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
