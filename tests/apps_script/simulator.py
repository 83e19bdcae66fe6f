"""A simulator process, and a client which speaks to it as the worker does: signed, in two hops."""

import base64
import hashlib
import hmac
import json
import os
import secrets
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

PROJECT = Path(__file__).parents[2]
SIMULATOR = PROJECT / "flowstate_local" / "simulator"
DENO = Path(sys.executable).parent / "deno"
OWNERS = ("owner-a@example.com", "owner-b@example.com")
SECRETS = {"k1": "first-secret-ü", "k2": "second-secret"}

Json = dict[str, Any]


def deno_environment() -> dict[str, str]:
    return {**os.environ, "DENO_DIR": str(PROJECT / ".cache" / "deno"), "NO_COLOR": "1"}


def deployment(name: str) -> str:
    return f"AKfycb-{name}"


def configuration() -> Json:
    instances = [("local-1", OWNERS[0]), ("local-2", OWNERS[0]), ("local-3", OWNERS[1])]
    return {
        "exec_port": 0,
        "echo_port": 0,
        "code_path": str(PROJECT / "apps_script" / "Code.gs"),
        "seed": 7,
        "time_scale": 0,
        "owners": [
            {"owner": OWNERS[0], "account_type": "consumer", "locale": "en"},
            {"owner": OWNERS[1], "account_type": "workspace", "locale": "de"},
        ],
        "instances": [
            {"deployment_id": deployment(name), "name": name, "owner": owner, "keys": SECRETS}
            for name, owner in instances
        ],
    }


@dataclass
class Envelope:
    """A request in the making; tests change a field before or after it is signed."""

    body: Json
    kid: str = "k1"
    secret: str = SECRETS["k1"]
    ts: int = field(default_factory=lambda: int(time.time()))
    nonce: str = field(default_factory=lambda: secrets.token_hex(12))

    def signed(self) -> Json:
        text = json.dumps(self.body).encode()
        body = base64.urlsafe_b64encode(text).rstrip(b"=").decode()
        signed = f"v1.{self.kid}.{self.ts}.{self.nonce}.{body}"
        sig = hmac.new(self.secret.encode(), signed.encode(), hashlib.sha256).hexdigest()
        return {
            "v": 1,
            "kid": self.kid,
            "ts": self.ts,
            "nonce": self.nonce,
            "body": body,
            "sig": sig,
        }


def new_id() -> str:
    return str(uuid.uuid4())


def step(name: str, kind: str, /, **args: Any) -> Json:
    return {"name": name, "type": kind, "args": args}


def send_step(name: str = "mail", subject: str = "hello") -> Json:
    return step(name, "gmail.send", to="bob@example.com", subject=subject, body="text")


class Simulator:
    """One simulator process on ports of its own choice. A context manager."""

    def __init__(self, directory: Path, config: Json | None = None) -> None:
        path = directory / "simulator.json"
        path.write_text(json.dumps(config or configuration()))
        self._log = (directory / "simulator.log").open("wb")
        command: list[str | Path] = [DENO, "run", "--frozen", "--cached-only"]
        command += ["--allow-net=127.0.0.1", "--allow-read", SIMULATOR / "main.ts"]
        self.process = subprocess.Popen(
            [*command, "--config", path],
            env=deno_environment(),
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        assert self.process.stdout is not None
        ready = self.process.stdout.readline()
        assert ready, (directory / "simulator.log").read_text()
        self.exec_url: str = json.loads(ready)["exec_url"]
        self.echo_url: str = json.loads(ready)["echo_url"]
        self.http = httpx.Client(timeout=30, limits=httpx.Limits(max_connections=64))
        self.ahead_seconds = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.http.close()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=10)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._log.close()

    # The wire.

    def url(self, instance: str = "local-1") -> str:
        return f"{self.exec_url}/macros/s/{deployment(instance)}/exec"

    def first_hop(self, envelope: Json, instance: str = "local-1") -> httpx.Response:
        return self.http.post(self.url(instance), content=json.dumps(envelope))

    def exchange(self, envelope: Json, instance: str = "local-1") -> Json:
        """Both hops; the script's answer."""
        hop = self.first_hop(envelope, instance)
        assert hop.status_code == 302, f"{hop.status_code}: {hop.text}"
        answer = self.http.get(hop.headers["location"])
        assert answer.status_code == 200, answer.text
        parsed: Json = answer.json()
        return parsed

    def envelope(self, body: Json, instance: str = "local-1") -> Envelope:
        return Envelope({"instance": instance, **body}, ts=int(time.time()) + self.ahead_seconds)

    def call(self, body: Json, instance: str = "local-1") -> Json:
        return self.exchange(self.envelope(body, instance).signed(), instance)

    def run_body(self, *steps: Json, execution_id: str | None = None, **more: Any) -> Json:
        return {
            "op": "run",
            "executionId": execution_id or new_id(),
            "attempt": 1,
            "flow": {"id": new_id(), "name": "a flow"},
            "steps": list(steps),
            "input": {},
            "deadlineMs": 300_000,
            **more,
        }

    def run(
        self, *steps: Json, execution_id: str | None = None, instance: str = "local-1", **more: Any
    ) -> Json:
        return self.call(self.run_body(*steps, execution_id=execution_id, **more), instance)

    def result(self, execution_id: str, instance: str = "local-1") -> Json:
        return self.call({"op": "result", "executionId": execution_id}, instance)

    # The control calls.

    def control(self, method: str, path: str, body: Json | None = None) -> Any:
        answer = self.http.request(method, f"{self.exec_url}/_sim/{path}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def inject(self, category: str, **rule: Any) -> None:
        self.control("POST", "injections", {"category": category, **rule})

    def effects(self, execution_id: str | None = None) -> list[Json]:
        query = f"?execution_id={execution_id}" if execution_id else ""
        rows: list[Json] = self.control("GET", f"effects{query}")
        return rows

    def summary(self) -> Json:
        numbers: Json = self.control("GET", "summary")
        return numbers

    def advance(self, seconds: int, *, scripts: bool = False) -> None:
        self.control("POST", "clock", {"advance_seconds": seconds, "scripts": scripts})
        self.ahead_seconds += seconds if scripts else 0

    def reset(self) -> None:
        self.control("POST", "reset")
        self.control("POST", "settings", {"time_scale": 0, "quotas": True, "echo_reads": "once"})
        self.ahead_seconds = 0
