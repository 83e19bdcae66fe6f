"""A server in place of PostgREST, for answers that the real one gives only in bad moments.

`on` holds prepared answers by RPC, first come first served; when there is none, every lease is
extended and every outcome accepted.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

Handler = Callable[[dict[str, Any]], Awaitable[web.Response]]


def refuse(status: int, code: str, message: str = "refused") -> Handler:
    """An error as PostgREST words it."""

    async def handler(_params: dict[str, Any]) -> web.Response:
        return web.json_response(
            {"code": code, "message": message, "details": None, "hint": None}, status=status
        )

    return handler


def rows(*answers: dict[str, Any]) -> Handler:
    async def handler(_params: dict[str, Any]) -> web.Response:
        return web.json_response(list(answers))

    return handler


class FakeApi:
    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.on: defaultdict[str, list[Handler]] = defaultdict(list)
        self.always: dict[str, Handler] = {}
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def named(self, name: str) -> list[dict[str, Any]]:
        return [params for called, params in self.calls if called == name]

    async def rpc(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        params = await request.json()
        self.calls.append((name, params))
        if self.on[name]:
            return await self.on[name].pop(0)(params)
        if name in self.always:
            return await self.always[name](params)
        match name:
            case "finish_flow_executions":
                items, answer = params["results"], "accepted"
            case "heartbeat_flow_executions":
                items, answer = params["leases"], "extended"
            case "claim_flow_executions" | "rescue_expired_executions":
                items, answer = [], ""
            case _:
                return web.json_response(None)
        return web.json_response([answered(item, answer) for item in items])


def answered(item: dict[str, Any], answer: str, **more: Any) -> dict[str, Any]:
    return {
        "execution_id": item["execution_id"],
        "attempt": item["attempt"],
        "answer": answer,
        "state": None,
        "cancel_requested": False,
        **more,
    }


def hang() -> Handler:
    async def handler(_params: dict[str, Any]) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    return handler


@asynccontextmanager
async def fake_api() -> AsyncIterator[FakeApi]:
    api = FakeApi()
    app = web.Application(client_max_size=20_000_000)
    app.router.add_post("/rest/v1/rpc/{name}", api.rpc)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        api.port = runner.addresses[0][1]
        yield api
    finally:
        await runner.cleanup()
