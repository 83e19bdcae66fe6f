"""The smallest process that answers the two hops of an Apps Script web app.

It is a stand-in for Google in benchmarks: the simulator runs the real script and would itself be
the bottleneck. It verifies nothing, keeps nothing, and takes less than a tenth of a millisecond of
a processor for a run.

    POST /macros/s/<id>/exec                 302 to the other port's /macros/echo
    GET  /macros/echo?user_content_key=<id>  200, the envelope that Code.gs would answer
    GET  /arrivals                           {"<execution id>": Unix time}, with --arrivals

With --run-seconds the first hop takes as long as a run would: log-normal around that median, as
Apps Script is (same seed, same sequence). It says its ports in one line of JSON and ends when its
standard input does.
"""

import argparse
import asyncio
import math
import re
import sys
import time
from base64 import urlsafe_b64decode
from functools import partial
from random import Random

import orjson

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_RESULT = {"rows": {"output": [[f"Invoice {n:05d}", f"sender-{n}@example.com"] for n in range(8)]}}


_SIGMA = 0.35
"""Of the logarithm of a run's time; small Apps Script projects show about this."""


def _answer(status: bytes, headers: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n\r\n%b" % (status, headers, len(body), body)


class _Site:
    """What all connections share: where answers are read, how long runs take, who called."""

    def __init__(self, run_seconds: float, *, keep_arrivals: bool) -> None:
        self._run_seconds = run_seconds
        self._rng = Random(1)
        self.echo = ""
        self._arrivals: dict[str, float] | None = {} if keep_arrivals else None

    def delay(self) -> float:
        """Seconds that the next run takes."""
        if not self._run_seconds:
            return 0.0
        return self._rng.lognormvariate(math.log(self._run_seconds), _SIGMA)

    def run(self, body: bytes) -> bytes:
        """The first hop's answer."""
        now = time.time()
        request = orjson.loads(urlsafe_b64decode(orjson.loads(body)["body"]))
        execution_id = request["executionId"]
        if self._arrivals is not None:
            self._arrivals.setdefault(execution_id, now)
        location = f"Location: {self.echo}?user_content_key={execution_id}\r\n"
        return _answer(b"302 Found", location.encode(), b"")

    def read(self, path: bytes) -> bytes:
        """The second hop's answer, or one of ours."""
        if path == b"/arrivals":
            return self._json(self._arrivals)
        execution_id = path.partition(b"user_content_key=")[2].decode()
        return self._json(
            {
                "v": 1,
                "ok": True,
                "executionId": execution_id,
                "status": "done",
                "result": _RESULT,
                "replayed": False,
                "usage": {"mail": 0, "gmail": 1, "urlfetch": 0},
                "ms": 1,
                "build": "benchmark",
            }
        )

    def _json(self, value: object) -> bytes:
        return _answer(b"200 OK", b"Content-Type: application/json\r\n", orjson.dumps(value))


class _Connection(asyncio.Protocol):
    """HTTP/1.1 with keep-alive, one request at a time, as clients of instances send it."""

    def __init__(self, site: _Site) -> None:
        self._site = site
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = _LENGTH.search(head)
        size = int(length[1]) if length else 0
        if len(rest) < size:
            return
        self._buffer = rest[size:]
        if head.startswith(b"POST "):
            answer = self._site.run(rest[:size])
            if delay := self._site.delay():
                asyncio.get_running_loop().call_later(delay, partial(self._write, answer))
                return
        else:
            answer = self._site.read(head.split(b" ", 2)[1])
        self._write(answer)

    def _write(self, answer: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(answer)


async def serve(site: _Site) -> None:
    """Serve both origins until standard input ends."""
    loop = asyncio.get_running_loop()
    ports = []
    for _ in ("exec", "echo"):
        server = await loop.create_server(lambda: _Connection(site), "127.0.0.1", 0, backlog=1024)
        ports.append(server.sockets[0].getsockname()[1])
    site.echo = f"http://127.0.0.1:{ports[1]}/macros/echo"
    print(orjson.dumps({"exec_port": ports[0], "echo_port": ports[1]}).decode(), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run-seconds", type=float, default=0.0, help="median of a run's time")
    parser.add_argument("--arrivals", action="store_true", help="keep when each run was asked for")
    options = parser.parse_args()
    asyncio.run(serve(_Site(options.run_seconds, keep_arrivals=options.arrivals)))


if __name__ == "__main__":
    main()
