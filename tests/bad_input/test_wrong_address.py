"""FLOWSTATE_SUPABASE_URL names something that is no Supabase API: a page in place of JSON."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flowstate_local import LocalStack
from tests.bad_input.conftest import Contents
from tests.faults.proxy import Proxy, reply
from tests.faults.worker_process import WorkerProcess

PAGE = "<!DOCTYPE html><html><body>Welcome</body></html>"
ANSWERS = {
    "a page": reply(200, PAGE, content_type="text/html"),
    "nothing here": reply(404, PAGE, content_type="text/html"),
    "other JSON": reply(200, '{"hello": "world"}'),
}


@pytest.fixture
def somebody_elses_server(stack: LocalStack) -> Iterator[Callable[[str], str]]:
    """The address of a server that gives one answer to everything."""
    proxy = Proxy(stack.info.ports["api_port"])

    def answer(name: str) -> str:
        proxy.answer_all(ANSWERS[name])
        return proxy.url

    yield answer
    proxy.close()


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_worker_at_a_wrong_address_ends_and_names_the_setting(
    stack: LocalStack,
    contents: Contents,
    tmp_path: Path,
    somebody_elses_server: Callable[[str], str],
    answer: str,
) -> None:
    before = contents()
    environment = {
        **stack.info.environment(),
        "FLOWSTATE_SUPABASE_URL": somebody_elses_server(answer),
        "FLOWSTATE_START_TIMEOUT_SECONDS": "0.5",
        "FLOWSTATE_LOG_FORMAT": "json",
    }
    worker = WorkerProcess(environment, tmp_path / "log")
    try:
        assert worker.ended() == 5
        [ended] = worker.events("ended")
        assert "FLOWSTATE_SUPABASE_URL" in ended["error"]
        assert stack.info.secret_key not in worker.log.read_text()
    finally:
        worker.clean_up()
    assert contents() == before


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (("queue", "status"), "a page"),
        (("queue", "status"), "nothing here"),
        (("flows", "list"), "a page"),
        (("flows", "list"), "nothing here"),
        (("flows", "list"), "other JSON"),
    ],
)
def test_a_command_at_a_wrong_address_names_the_setting(
    stack: LocalStack,
    somebody_elses_server: Callable[[str], str],
    command: tuple[str, ...],
    answer: str,
) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "COLUMNS": "500",
        **stack.info.environment(),
        "FLOWSTATE_SUPABASE_URL": somebody_elses_server(answer),
    }
    ended = subprocess.run(
        [sys.executable, "-m", "flowstate_cli", *command],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 3, ended.stderr
    assert "FLOWSTATE_SUPABASE_URL" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not ended.stdout
