"""The tests that are written in TypeScript: search, and the sample mailbox."""

import subprocess
from pathlib import Path

from tests.apps_script.simulator import DENO, deno_environment


def test_search_and_the_sample_mailbox_are_right() -> None:
    finished = subprocess.run(
        [DENO, "test", "--cached-only", "--quiet"],
        cwd=Path(__file__).parent / "typescript",
        env=deno_environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
