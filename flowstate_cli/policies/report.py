"""The result: for each object what was found, what the rules say, and every difference in words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from flowstate_cli.policies.callers import Caller

VERBS = {
    "relation": {"s": "select", "i": "insert", "u": "update", "d": "delete"},
    "sequence": {"s": "read", "u": "advance"},
    "function": {"x": "call"},
    "topic": {"s": "hear", "p": "see presence on", "i": "send to"},
}


@dataclass
class Examined:
    """One object."""

    kind: str
    name: str
    found: dict[Caller, str] = field(default_factory=dict)
    expected: dict[Caller, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    to_add: str = ""
    """Lines for rules.toml that would make the object known."""

    @property
    def title(self) -> str:
        return f"{self.kind} {self.name}".lstrip()

    def lines(self) -> list[str]:
        """Every difference, and what to write down where the object is not known."""
        lines = [f"{self.title}: {problem}" for problem in self.problems]
        if self.to_add:
            lines.append("  add to flowstate_cli/policies/rules.toml, whose head explains it:")
            lines += [f"    {line}" for line in self.to_add.splitlines()]
        return lines

    def as_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "name": self.name,
            "found": {caller.value: letters for caller, letters in self.found.items()},
            "expected": {caller.value: letters for caller, letters in self.expected.items()},
            "problems": self.problems,
            "to_add": self.to_add or None,
        }


@dataclass(frozen=True)
class Matrix:
    """Every object that was looked at."""

    objects: list[Examined]

    @property
    def failing(self) -> list[Examined]:
        return [found for found in self.objects if found.problems]

    def lines(self) -> list[str]:
        """All differences, for people."""
        return [line for found in self.failing for line in found.lines()]
