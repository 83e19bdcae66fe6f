"""A server that speaks the two hops of a web app, for answers that a well-behaved one never gives.

By itself it does what Code.gs does: checks the signature, does an execution id once, answers behind
a redirect. `on_exec` and `on_echo` replace single answers, first come first served.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

from aiohttp import web

SECRET = "a-secret-of-some-length"
KID = "k1"
NAME = "fake-1"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class FakeInstance:
    def __init__(self) -> None:
        self.effects: list[str] = []
        self.requests: list[dict[str, Any]] = []
        self.echo_reads = 0
        self.on_exec: list[Handler] = []
        self.on_echo: list[Handler] = []
        self.results: dict[str, dict[str, Any]] = {}
        self.port = 0
        self._answers: dict[str, bytes] = {}

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.host}/macros/s/AKfycb-fake/exec"

    def echo_url(self, key: str) -> str:
        return f"http://{self.host}/macros/echo?user_content_key={key}"

    def envelope(self, execution_id: str, **fields: Any) -> dict[str, Any]:
        return {
            "v": 1,
            "ok": True,
            "executionId": execution_id,
            "status": "done",
            "result": {"step": {"ran": True}},
            "replayed": False,
            "usage": {"mail": 1, "gmail": 2, "urlfetch": 0},
            "ms": 5,
            "build": "fake",
            **fields,
        }

    def failure(self, execution_id: str | None, kind: str, **error: Any) -> dict[str, Any]:
        return {
            "v": 1,
            "ok": False,
            "executionId": execution_id,
            "error": {"kind": kind, "message": "says so", "retryable": False, **error},
        }

    def redirect_to(self, answer: dict[str, Any] | bytes) -> web.Response:
        """The answer stored, and the redirect to where it can be read."""
        key = uuid4().hex
        self._answers[key] = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        return web.Response(status=302, headers={"Location": self.echo_url(key)})

    async def exec(self, request: web.Request) -> web.StreamResponse:
        if request.method == "POST":
            self.requests.append(self._open(await request.json()))
        if self.on_exec:
            return await self.on_exec.pop(0)(request)
        return self.good_exec(self.requests[-1])

    def good_exec(self, body: dict[str, Any]) -> web.Response:
        execution_id = body["executionId"]
        known = self.results.get(execution_id)
        if known is not None:
            return self.redirect_to({**known, "replayed": True})
        if body["op"] == "result":
            return self.redirect_to(
                self.failure(execution_id, "internal", code="UNKNOWN_EXECUTION", ran="none")
            )
        self.effects.append(execution_id)
        self.results[execution_id] = self.envelope(execution_id)
        return self.redirect_to(self.results[execution_id])

    async def echo(self, request: web.Request) -> web.StreamResponse:
        self.echo_reads += 1
        if self.on_echo:
            return await self.on_echo.pop(0)(request)
        return web.Response(body=self._answers[request.query["user_content_key"]])

    def _open(self, envelope: dict[str, Any]) -> dict[str, Any]:
        text = f"v1.{envelope['kid']}.{envelope['ts']}.{envelope['nonce']}.{envelope['body']}"
        expected = hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()
        assert envelope["sig"] == expected
        body: dict[str, Any] = json.loads(base64.urlsafe_b64decode(envelope["body"]))
        assert body["instance"] == NAME
        return body


@asynccontextmanager
async def fake_instance() -> AsyncIterator[FakeInstance]:
    instance = FakeInstance()
    app = web.Application()
    app.router.add_route("*", "/macros/s/{id}/exec", instance.exec)
    app.router.add_get("/macros/echo", instance.echo)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        instance.port = runner.addresses[0][1]
        yield instance
    finally:
        await runner.cleanup()
