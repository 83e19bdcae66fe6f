"""The command line against a started stack, in this process, with the stack's environment."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from flowstate_cli.api import Api
from flowstate_cli.main import app
from flowstate_cli.pool import register_pool
from flowstate_cli.settings import Settings
from flowstate_cli.stack import simulated_pool
from flowstate_local import LocalStack

CHECKOUT = Path(__file__).parents[2]
DEADLINE_SECONDS = 60.0
FLOW = """
steps:
  - {name: rows, type: transform, args: {template: "{{input.who}}"}}
"""


@pytest.fixture(scope="session")
def stack() -> Iterator[LocalStack]:
    with LocalStack.throw_away() as started:
        started.push_migrations()
        owners, instances = simulated_pool(started)
        with Api(Settings(started.info.environment(), "a test")) as api:
            register_pool(api, owners, instances)
        yield started


@dataclass
class FlowState:
    """Calls commands. `environment` is all that they know of."""

    environment: dict[str, str]
    overrides: dict[str, str | None] = field(default_factory=dict)

    def __call__(self, *arguments: str, stdin: str | None = None, **env: str | None) -> Result:
        given = {**self.environment, **self.overrides, **env}
        return CliRunner().invoke(app, list(arguments), input=stdin, env=given)

    def json(self, *arguments: str, stdin: str | None = None, exit_code: int = 0) -> Any:
        """What `--json` prints. The whole of stdout has to be one document."""
        result = self(*arguments, "--json", stdin=stdin)
        assert result.exit_code == exit_code, result.output
        return json.loads(result.stdout)


@pytest.fixture
def flowstate(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> FlowState:
    for name in stack.info.environment():
        monkeypatch.delenv(name, raising=False)
    return FlowState({**stack.info.environment(), "FLOWSTATE_PROJECT": str(CHECKOUT)})


@pytest.fixture
def api(stack: LocalStack) -> Iterator[Api]:
    with Api(Settings(stack.info.environment(), "a test")) as made:
        yield made


@dataclass(frozen=True)
class Person:
    id: str
    email: str


@pytest.fixture
def person(api: Api) -> Person:
    """A new user of the largest tier."""
    email = f"{secrets.token_hex(6)}@example.com"
    made = api.client.auth.admin.create_user({"email": email, "email_confirm": True})
    api.run(api.table("user_profiles").update({"tier": "enterprise"}).eq("user_id", made.user.id))
    return Person(made.user.id, email)


@pytest.fixture
def flow_file(tmp_path: Path) -> Path:
    path = tmp_path / "flow.yaml"
    path.write_text(FLOW)
    return path


@pytest.fixture
def flow(flowstate: FlowState, person: Person, flow_file: Path) -> dict[str, Any]:
    """A stored flow of `person`."""
    made = flowstate.json("flows", "create", str(flow_file), "--user", person.id, "--name", "rows")
    assert isinstance(made, dict)
    return made


def until(condition: Callable[[], Any], what: str) -> Any:
    """The first true value of `condition`; fails when the deadline passes."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"this did not happen: {what}")
