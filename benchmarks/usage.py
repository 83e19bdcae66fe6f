"""What processes use of the machine, read from /proc: processor seconds and resident memory."""

import os
from collections.abc import Mapping
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid: int) -> float:
    """User and system time of one process so far. Raises FileNotFoundError once it is gone."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / _TICKS


def family_cpu_seconds(pid: int) -> float:
    """The same for a process, its children that live, and those it has waited for."""
    fields = _stat(pid)
    total = sum(int(field) for field in fields[11:15]) / _TICKS
    for child in _children(pid):
        try:
            total += cpu_seconds(child)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total


def exact_cpu_seconds(pid: int) -> float:
    """The same to the nanosecond, of the process's first thread: for what takes milliseconds."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def cpu_of_parts(pids: Mapping[str, int]) -> dict[str, float]:
    """Processor seconds by name so far; each with its children, as Postgres has them."""
    return {name: family_cpu_seconds(pid) for name, pid in pids.items()}


def resident_mb(pid: int) -> float:
    """Resident memory of one process in MB (10^6 bytes)."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * _PAGE_BYTES / 1e6


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for directory in Path(f"/proc/{pid}/task").iterdir():
        try:
            found += [int(child) for child in (directory / "children").read_text().split()]
        except FileNotFoundError:
            continue
    return found


def _stat(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat from the third on; the name before may hold anything."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
