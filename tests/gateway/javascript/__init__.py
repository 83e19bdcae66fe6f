"""supabase-js as a process: Python sends a command, JavaScript answers."""

import asyncio
import json
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from flowstate_local import StackInfo, project
from flowstate_local.components import inherited_environment

from ..waiting import soon

HERE = Path(__file__).parent


class JavaScriptError(Exception):
    """What supabase-js answered instead of data; `args[0]` is {name, message, status, code}."""


class JavaScript:
    """A supabase-js client; `await js("sign_in", email=…)` gives its data or raises its error."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def __call__(self, command: str, **arguments: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        line = json.dumps({"do": command, **arguments}) + "\n"
        self._process.stdin.write(line.encode())
        answer = json.loads(await soon(self._process.stdout.readline()))
        if "error" in answer:
            raise JavaScriptError(answer["error"])
        return answer["ok"]


@asynccontextmanager
async def javascript(
    info: StackInfo, *, key: str | None = None, version: str = "2.0.0"
) -> AsyncIterator[JavaScript]:
    process = await asyncio.create_subprocess_exec(
        str(project.deno()),
        "run",
        "--quiet",
        "--no-prompt",
        "--cached-only",
        "--frozen",
        "--allow-env",
        "--allow-net=127.0.0.1",
        str(HERE / "client.ts"),
        env={
            **inherited_environment(),
            "SUPABASE_URL": info.api_url,
            "SUPABASE_KEY": key or info.publishable_key,
            "VSN": version,
        },
        stdin=PIPE,
        stdout=PIPE,
    )
    assert process.stdin is not None
    try:
        yield JavaScript(process)
    finally:
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 2)
        except TimeoutError:
            process.kill()
            await process.wait()
