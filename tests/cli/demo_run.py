"""`flowstate demo` as a process of its own, with a project and a place for its stack to itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from flowstate_local import LocalStack

from .conftest import CHECKOUT, until


class DemoRun:
    """Starts at once. `size` is DEMO_FLOWS and DEMO_USERS."""

    def __init__(self, root: Path, *, size: tuple[int, int], json_output: bool = False) -> None:
        self.root = root
        self.project = root / "project"
        self.project.mkdir()
        for name in ("supabase", "sql", "node_modules"):
            (self.project / name).symlink_to(CHECKOUT / name)
        self.temporary = root / "temporary"
        self.temporary.mkdir()
        others = {k: v for k, v in os.environ.items() if not k.startswith(("FLOWSTATE_", "DEMO_"))}
        environment = {
            **others,
            "FLOWSTATE_PROJECT": str(self.project),
            "TMPDIR": str(self.temporary),
            "DEMO_FLOWS": str(size[0]),
            "DEMO_USERS": str(size[1]),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "flowstate_cli", "demo", *["--json"] * json_output],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self) -> tuple[int, str, str]:
        """Exit code, stdout and stderr, once it has ended by itself."""
        out, err = self.process.communicate(timeout=180)
        return self.process.returncode, out, err

    @property
    def figures(self) -> dict[str, Any]:
        figures: dict[str, Any] = json.loads(
            (self.project / ".flowstate" / "demo.json").read_text()
        )
        return figures

    @property
    def left_behind(self) -> list[str]:
        """What it wrote beside its figures."""
        folders = [self.project / ".flowstate", self.temporary]
        wrote = [path.name for folder in folders if folder.exists() for path in folder.iterdir()]
        return [name for name in wrote if name != "demo.json"]

    def stack(self) -> LocalStack:
        """Its stack, once there is one."""

        def found() -> Path | None:
            assert self.process.poll() is None, self.end()
            return next(self.temporary.glob("flowstate-*/stack.json"), None)

        return LocalStack.create(until(found, "the demo's stack").parent)

    def worker_pid(self) -> int:
        """Its worker's, once that is ready."""
        log = self.stack().log("worker")

        def ready() -> str | None:
            assert self.process.poll() is None, self.end()
            lines = log.read_text().splitlines() if log.exists() else []
            return next((line for line in lines if '"event":"ready"' in line), None)

        processor_id: str = json.loads(until(ready, "the worker is ready"))["processor_id"]
        return int(processor_id.split("-")[-2])  # <host>-<pid>-<random>
