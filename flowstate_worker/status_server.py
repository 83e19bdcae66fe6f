"""A small HTTP server for whoever looks after the worker: /healthz, /readyz, /metrics.

/healthz: 200 while every loop runs. /readyz: 200 while the worker is registered, not draining, and
has lately had an answer from the API; both say in JSON what is wrong otherwise (503).
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

Checks = Callable[[], dict[str, bool]]


@dataclass(frozen=True, slots=True)
class Status:
    """What the server tells: named checks, each of which must hold, and the metrics' text."""

    health: Checks
    readiness: Checks
    metrics: Callable[[], bytes]


def _answer(checks: dict[str, bool]) -> web.Response:
    ok = all(checks.values())
    return web.json_response({"ok": ok, "checks": checks}, status=200 if ok else 503)


@asynccontextmanager
async def status_server(status: Status, host: str, port: int) -> AsyncIterator[int]:
    """Serve at `host:port` until the end of the block; yields the port (of use with 0)."""

    async def health(_request: web.Request) -> web.Response:
        return _answer(status.health())

    async def ready(_request: web.Request) -> web.Response:
        return _answer(status.readiness())

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(
            body=status.metrics(), headers={"Content-Type": "text/plain; version=0.0.4"}
        )

    app = web.Application()
    app.add_routes(
        [web.get("/healthz", health), web.get("/readyz", ready), web.get("/metrics", metrics)]
    )
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()
