"""The functions host by itself: how functions may be written, fail, and what they cannot reach."""

import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from flowstate_local import functions_host, ports, processes, project
from flowstate_local.components import inherited_environment

from .waiting import eventually

FUNCTIONS = {
    "greeter": """
        Deno.serve({ port: 8000 }, (request) => {
          const url = new URL(request.url);
          return new Response(`${Deno.env.get("GREETING")} ${url.pathname}${url.search}`);
        });""",
    "exporter": 'export default { fetch: () => new Response("exported") };',
    "thrower": 'Deno.serve(() => { throw new Error("secret words"); });',
    "broken": 'throw new Error("not today");',
    "silent": "export const nothing = 1;",
    "crasher": """
        Deno.serve((request) => {
          if (request.method === "POST") setTimeout(() => { throw new Error("late"); });
          return new Response("alive");
        });""",
    "nosy": """
        const attempts: Record<string, () => unknown> = {
          net: () => fetch("http://192.0.2.1/"),
          read: () => Deno.readTextFileSync("/etc/hostname"),
          write: () => Deno.writeTextFileSync("/tmp/nosy", ""),
          run: () => new Deno.Command("true").outputSync(),
        };
        Deno.serve(async () => {
          const outcomes: Record<string, string> = {};
          for (const [name, attempt] of Object.entries(attempts)) {
            try { await attempt(); outcomes[name] = "done"; }
            catch (error) { outcomes[name] = (error as Error).name; }
          }
          return Response.json(outcomes);
        });""",
}


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[str]:
    """The address of a host that serves FUNCTIONS."""
    folder = tmp_path / "functions"
    for name, code in FUNCTIONS.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "index.ts").write_text(code)
    (folder / "deno.json").write_text("{}")
    port = ports.choose("functions_port", asked=0, remembered=0, taken=frozenset())
    config = tmp_path / "functions.json"
    settings = {"port": port, "functions_dir": str(folder), "env": {"GREETING": "hello"}}
    config.write_text(json.dumps(settings))
    process = processes.spawn(
        functions_host.command(deno=project.deno(), config=config, functions_dir=folder),
        log=tmp_path / "log",
        environment=inherited_environment(),
        directory=tmp_path,
    )
    address = f"http://127.0.0.1:{port}"

    async def is_ready() -> bool | None:
        try:
            async with aiohttp.request("GET", f"{address}/_internal/health") as answer:
                return True if answer.status == 200 else None
        except aiohttp.ClientConnectionError:
            return None

    try:
        await eventually(is_ready)
        yield address
    finally:
        processes.stop(process, how=signal.SIGTERM, grace_seconds=2)


async def call(http: aiohttp.ClientSession, url: str, method: str = "GET") -> tuple[int, str]:
    async with http.request(method, url) as answer:
        return answer.status, await answer.text()


async def test_functions_run_as_they_are_written(http: aiohttp.ClientSession, host: str) -> None:
    assert await call(http, f"{host}/greeter/a/b?c=d") == (200, "hello /greeter/a/b?c=d")
    assert await call(http, f"{host}/exporter") == (200, "exported")


async def test_a_failing_function_is_answered_for_and_leaves_the_others_alone(
    http: aiohttp.ClientSession, host: str
) -> None:
    for name in ("broken", "silent"):
        status, text = await call(http, f"{host}/{name}")
        assert (status, json.loads(text)["code"]) == (503, "BOOT_ERROR")
    status, text = await call(http, f"{host}/thrower")
    assert status == 500
    assert "secret words" not in text
    assert await call(http, f"{host}/greeter") == (200, "hello /greeter")


async def test_a_crashed_function_is_started_again(http: aiohttp.ClientSession, host: str) -> None:
    assert await call(http, f"{host}/crasher", "POST") == (200, "alive")

    async def answers_again() -> bool | None:
        return True if (await call(http, f"{host}/crasher"))[0] == 200 else None

    for _ in range(3):
        await call(http, f"{host}/crasher", "POST")
        await eventually(answers_again)


async def test_functions_reach_loopback_and_nothing_else(
    http: aiohttp.ClientSession, host: str
) -> None:
    status, text = await call(http, f"{host}/nosy")
    assert status == 200
    refused = dict.fromkeys(("net", "read", "write", "run"), "NotCapable")
    assert json.loads(text) == refused
