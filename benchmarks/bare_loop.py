"""The loop that the worker is compared with: aiohttp, two hops an execution, and nothing else.

It signs the bodies that the worker sends, posts them, reads the answer behind the redirect, and
checks its execution id. It has no queue, lease, classification, time-out, metric or log. Prints one
line of JSON: executions, seconds, and processor seconds of the measured time.
"""

import argparse
import asyncio
import json
import secrets
import time
import uuid
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

from flowstate_worker.rules.signing import SigningKey, sign


@dataclass(slots=True)
class _Count:
    done: int = 0


async def _lane(
    session: aiohttp.ClientSession, url: str, key: SigningKey, body: dict[str, Any], count: _Count
) -> None:
    """One execution after the other, for ever."""
    headers = {"Content-Type": "application/json"}
    while True:
        execution_id = str(uuid.uuid4())
        request = orjson.dumps({**body, "executionId": execution_id})
        envelope = sign(key, request, ts=int(time.time()), nonce=secrets.token_urlsafe(16))
        async with session.post(
            url, data=orjson.dumps(envelope), headers=headers, allow_redirects=False
        ) as answer:
            await answer.read()
            location = answer.headers["Location"]
        async with session.get(location, allow_redirects=False) as answer:
            result = orjson.loads(await answer.read())
        if not result["ok"] or result["executionId"] != execution_id:
            raise RuntimeError("the endpoint answered for another execution")
        count.done += 1


async def measure(
    url: str, body: dict[str, Any], in_flight: int, seconds: float, warm_up: float
) -> dict[str, float]:
    """Run `in_flight` lanes; count for `seconds` after `warm_up` seconds."""
    key = SigningKey("k1", secrets.token_hex(32).encode())
    count = _Count()
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session,
        asyncio.TaskGroup() as lanes,
    ):
        running = [
            lanes.create_task(_lane(session, url, key, body, count)) for _ in range(in_flight)
        ]
        await asyncio.sleep(warm_up)
        done, wall, cpu = count.done, time.perf_counter(), time.process_time()
        await asyncio.sleep(seconds)
        answer = {
            "executions": count.done - done,
            "seconds": time.perf_counter() - wall,
            "cpu_seconds": time.process_time() - cpu,
        }
        for lane in running:
            lane.cancel()
    return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True, help="an instance's /exec")
    parser.add_argument("--body", required=True, help="JSON of a request, without executionId")
    parser.add_argument("--in-flight", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--warm-up", type=float, default=0.5)
    options = parser.parse_args()
    body = json.loads(options.body)
    print(
        json.dumps(
            asyncio.run(
                measure(options.url, body, options.in_flight, options.seconds, options.warm_up)
            )
        )
    )


if __name__ == "__main__":
    main()
