"""Two commands on one folder at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from flowstate_local.errors import StackBusyError
from flowstate_local.hold import hold
from tests.local.conftest import MakeStack

START = """
import sys
from pathlib import Path
from flowstate_local import LocalStack
stack = LocalStack.create(Path(sys.argv[1]), components=("postgres",), durable=False)
stack.start()
print(stack.info.pids["postgres"], stack.info.jwt_secret)
"""


def test_two_starters_at_once_end_up_with_one_stack(make_stack: MakeStack) -> None:
    stack = make_stack()
    command = [sys.executable, "-c", START, str(stack.directory)]
    starters = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    told = {starter.communicate(timeout=120)[0] for starter in starters}
    assert [starter.returncode for starter in starters] == [0, 0, 0]
    assert len(told) == 1
    assert str(stack.info.pids["postgres"]) in told.pop()


def test_a_folder_that_stays_held_is_said_to_be_busy(tmp_path: Path) -> None:
    with hold(tmp_path), pytest.raises(StackBusyError), hold(tmp_path, seconds=0.1):
        pass


def test_a_holder_that_vanished_leaves_nothing_behind(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from flowstate_local.hold import hold\n"
        "hold(Path(sys.argv[1])).__enter__(); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path], check=False)
    with hold(tmp_path, seconds=5):
        pass
