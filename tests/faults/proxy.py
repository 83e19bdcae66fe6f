"""A TCP proxy on loopback which can do to a worker's connections what networks do.

It knows just enough of HTTP/1.1 to tell requests apart, since "the answer to that call is lost" is
the fault that matters most: it is read from the request's side of a connection, while answers are
passed on as bytes. A connection that is upgraded (a web socket) is bytes both ways.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections import Counter
from collections.abc import Coroutine
from typing import Any, TypeVar

from tests.faults.waiting import until

T = TypeVar("T")


def reply(status: int, body: str, *, content_type: str = "application/json") -> bytes:
    """An HTTP answer for `Proxy.answer`."""
    text = body.encode()
    head = f"HTTP/1.1 {status} Reply\r\nContent-Type: {content_type}\r\nContent-Length: {len(text)}"
    return f"{head}\r\n\r\n".encode() + text


BUSY = reply(503, "busy", content_type="text/plain")


class _Connection:
    """One client's connection and its counterpart."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client = client
        self.server = server
        self.path = ""
        self.dead = False
        self.lose_answer = False

    def close(self) -> None:
        self.client.close()
        self.server.close()


class Proxy:
    """Passes everything on to `port` until told otherwise. Faults are set from any thread."""

    def __init__(self, port: int) -> None:
        self.requests: Counter[str] = Counter()
        """Requests by path, those that were refused included."""
        self._to = port
        self._port = 0
        self._connections: set[_Connection] = set()
        self._replies: dict[str, list[bytes]] = {}
        self._always: bytes | None = None
        self._dead = False
        self._lost: Counter[str] = Counter()
        self._to_lose: Counter[str] = Counter()
        self._holds = ""
        self._let_through = 0
        self._held = 0
        self._passing = asyncio.Event()
        self._silent = ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._run(self._listen())

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def close(self) -> None:
        self._run(self._stop_listening())
        self._run(self._cancel_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # -- faults ------------------------------------------------------------------------------

    def lose_answers(self, path: str, times: int = 1) -> None:
        """Requests to `path` arrive and are carried out; the answer never comes back."""
        self._to_lose[path] += times

    def wait_lost(self, path: str, times: int = 1) -> None:
        until(lambda: self._lost[path] >= times, f"{times} answers to {path} are lost")

    def hold(self, path: str, *, behind: int = 0) -> None:
        """Requests to `path`, behind the first so many, stay on their way until `pass_on`."""
        self._holds = path
        self._let_through = behind

    def wait_held(self) -> None:
        until(lambda: self._held > 0, "a request is held")

    def pass_on(self) -> None:
        self._holds = ""
        self._loop.call_soon_threadsafe(self._passing.set)

    def refuse(self) -> None:
        """Nobody listens any more, and open connections are reset."""
        self._run(self._stop_listening())

    def answer(self, path: str, replies: list[bytes]) -> None:
        """The next requests to `path` get these answers, and do not arrive."""
        self._replies[path] = list(replies)

    def answer_all(self, reply: bytes) -> None:
        """No request arrives; each gets this answer."""
        self._always = reply

    def half_open(self) -> None:
        """Connections, old and new, stay open; nothing comes through any of them, ever again."""
        self._dead = True
        for connection in list(self._connections):
            connection.dead = True

    def silence(self, path: str, *, drop: bool) -> None:
        """Connections for `path` are closed (`drop`), or stay open and silent; new ones as well."""
        self._silent = path
        for connection in list(self._connections):
            if path in connection.path:
                connection.dead = True
                if drop:
                    self._loop.call_soon_threadsafe(connection.close)

    def mend(self) -> None:
        """Everything works again, on new connections."""
        self._dead = False
        self._always = None
        self._silent = ""
        self._to_lose.clear()
        if not self._server.is_serving():
            self._run(self._listen())

    # -- inside the loop ---------------------------------------------------------------------

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def _stop_listening(self) -> None:
        self._server.close()
        for connection in list(self._connections):
            connection.client.transport.abort()
            connection.server.transport.abort()

    async def _cancel_all(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for other in others:
            other.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            writer.close()
            return
        connection = _Connection(writer, server)
        connection.dead = self._dead
        self._connections.add(connection)
        answers = asyncio.create_task(self._answers(server_reader, connection))
        try:
            await self._requests(reader, connection)
        except (asyncio.IncompleteReadError, OSError):
            pass  # one side has gone
        finally:
            connection.close()
            await asyncio.wait({answers})
            self._connections.discard(connection)

    async def _requests(self, reader: asyncio.StreamReader, connection: _Connection) -> None:
        while True:
            request, upgraded = await self._next_request(reader, connection)
            if self._silent and self._silent in connection.path:
                connection.dead = True
            if canned := self._canned(connection.path):
                connection.client.write(canned)
            elif not connection.dead:
                await self._hold_back(connection.path)
                connection.server.write(request)
            while upgraded:
                data = await reader.read(65536)
                if not data:
                    return
                if not connection.dead:
                    connection.server.write(data)

    async def _hold_back(self, path: str) -> None:
        if not self._holds or self._holds not in path:
            return
        if self._let_through > 0:
            self._let_through -= 1
            return
        self._held += 1
        await self._passing.wait()

    def _canned(self, path: str) -> bytes | None:
        for known, replies in self._replies.items():
            if known in path and replies:
                return replies.pop(0)
        return self._always

    async def _next_request(
        self, reader: asyncio.StreamReader, connection: _Connection
    ) -> tuple[bytes, bool]:
        """One request's bytes, and whether it turns the connection into something else."""
        head = await reader.readuntil(b"\r\n\r\n")
        connection.path = head.split(b" ", 2)[1].decode()
        self.requests[connection.path] += 1
        length = re.search(rb"(?i)\ncontent-length: *(\d+)", head)
        body = await reader.readexactly(int(length[1])) if length else b""
        for path in self._to_lose:
            if path in connection.path and self._to_lose[path] > 0:
                self._to_lose[path] -= 1
                connection.lose_answer = True
        return head + body, b"upgrade: websocket" in head.lower()

    async def _answers(self, reader: asyncio.StreamReader, connection: _Connection) -> None:
        try:
            while data := await reader.read(65536):
                if connection.lose_answer:
                    # The answer is here, so the call was carried out to its end.
                    self._lost.update(path for path in self._to_lose if path in connection.path)
                    break
                if not connection.dead:
                    connection.client.write(data)
        except OSError:
            pass
        finally:
            if not connection.dead:
                connection.close()
