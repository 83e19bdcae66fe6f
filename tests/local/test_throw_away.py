"""A throw-away stack ends with whoever made it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flowstate_local import LocalStack, processes
from flowstate_local.runner import cluster_home

MAKER = """
import signal
from flowstate_local import LocalStack
with LocalStack.throw_away(components=("postgres",)) as stack:
    print(stack.directory, flush=True)
    signal.pause()
"""


def test_nothing_is_left_after_the_block() -> None:
    with LocalStack.throw_away(components=("postgres",)) as stack:
        server = processes.identify(stack.info.pids["postgres"])
        home = cluster_home(stack.directory)
        assert home.exists()
    assert server
    assert not processes.is_running(server)
    assert not stack.directory.exists()
    assert not home.exists()


def test_nothing_is_left_when_the_block_fails() -> None:
    directory = Path("/nowhere")

    def fail() -> None:
        nonlocal directory
        with LocalStack.throw_away(components=("postgres",)) as stack:
            directory = stack.directory
            raise RuntimeError("the test's own")

    with pytest.raises(RuntimeError, match="the test's own"):
        fail()
    assert directory.name.startswith("flowstate-")
    assert not directory.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_when_the_maker_is_ended(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", MAKER], stdout=subprocess.PIPE, text=True
    ) as maker:
        assert maker.stdout
        directory = Path(maker.stdout.readline().strip())
        saved = json.loads((directory / "stack.json").read_text())
        server = processes.ProcessId(**saved["processes"]["postgres"])
        assert processes.is_running(server)
        maker.send_signal(number)
        maker.wait(timeout=60)
        if number == signal.SIGTERM:  # the maker cleaned up by itself, and ended as told
            assert maker.returncode == 128 + signal.SIGTERM
            assert not directory.exists()
    assert processes.wait_until_gone(server, seconds=30)
    assert processes.wait_for(lambda: not directory.exists(), seconds=30)
    assert not cluster_home(directory).exists()
