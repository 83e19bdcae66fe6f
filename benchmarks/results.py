"""Writes what was measured: one JSON file a benchmark, with machine, date and command."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"

_PACKAGES = ("aiohttp", "supabase", "postgrest", "pydantic", "psycopg")


def median(values: Sequence[float], digits: int = 1) -> float:
    return round(statistics.median(values), digits)


def spread(values: Sequence[float], digits: int = 1) -> list[float]:
    """The least and the greatest: two or five rounds have no better measure."""
    return [round(min(values), digits), round(max(values), digits)]


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` (0..1) of them do not exceed (nearest rank)."""
    ranked = sorted(values)
    return ranked[max(0, min(len(ranked) - 1, round(share * len(ranked) + 0.5) - 1))]


class Report:
    """Gathers one benchmark's figures. Make it first: it notes how busy the machine was before.

    `arguments`: the command line's, as `main` got them.
    """

    def __init__(self, name: str, arguments: Sequence[str] | None) -> None:
        given = sys.argv[1:] if arguments is None else arguments
        self._path = RESULTS / f"{name}.json"
        self._content: dict[str, Any] = {
            "benchmark": name,
            "command": " ".join([f"python -m benchmarks.{name}", *given]),
            "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "machine": machine(),
            "load_average_before": round(os.getloadavg()[0], 2),
        }

    def write(self, figures: Any, **more: Any) -> None:
        """Replaces the file of an earlier run."""
        self._content |= more
        self._content["figures"] = figures
        RESULTS.mkdir(exist_ok=True)
        self._path.write_text(json.dumps(self._content, indent=2) + "\n")


def machine() -> dict[str, Any]:
    """What figures depend on; nothing that names this machine."""
    return {
        "processor": _line("/proc/cpuinfo", "model name"),
        "cores": os.cpu_count(),
        "memory_gb": round(int(_line("/proc/meminfo", "MemTotal").split()[0]) * 1024 / 1e9),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES},
    }


def load(name: str) -> dict[str, Any] | None:
    """What was written last, if anything."""
    path = RESULTS / f"{name}.json"
    if not path.exists():
        return None
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def _line(path: str, name: str) -> str:
    for line in Path(path).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "unknown"
