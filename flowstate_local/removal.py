"""The end of a stack: its processes, then its data, keys and logs."""

from __future__ import annotations

import shutil
from pathlib import Path

from flowstate_local.components import COMPONENTS
from flowstate_local.hold import hold
from flowstate_local.postgres import cluster
from flowstate_local.runner import Runner, cluster_home
from flowstate_local.state import State


def remove_stack(directory: Path, *, throw_away: bool) -> None:
    """Stop and remove the stack in `directory`. Nothing happens where there is none.

    Args:
        directory: the stack's folder.
        throw_away: the folder is a throw-away stack's, and goes even if its start was cut short
            before the state was written. Any other folder without a state is left as it is.
    """
    if not directory.exists():
        return
    with hold(directory):
        state = State.load(directory)
        if state:
            Runner(state, directory).stop(COMPONENTS)
            cluster.remove(cluster_home(directory))
        elif not throw_away:
            return
        shutil.rmtree(directory)
