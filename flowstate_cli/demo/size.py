"""How large a demo is: DEMO_FLOWS runs, asked for by DEMO_USERS users."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from flowstate_cli.errors import BadInputError

FLOWS, USERS = "DEMO_FLOWS", "DEMO_USERS"
_MOST = {FLOWS: 100_000, USERS: 10_000}


@dataclass(frozen=True)
class Size:
    """`flows`: runs asked for, 1 to 100,000. `users`: 1 to 10,000."""

    flows: int = 1000
    users: int = 300

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """From DEMO_FLOWS and DEMO_USERS. Raises BadInputError naming the variable."""
        return cls(
            flows=_number(environment, FLOWS, cls.flows),
            users=_number(environment, USERS, cls.users),
        )


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, "").strip()
    if not text:
        return default
    if text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= _MOST[name]:
        return int(text)
    shown = text if len(text) <= 40 else f"{text[:37]}..."
    raise BadInputError(f"{name} must be a whole number from 1 to {_MOST[name]}, not {shown!r}.")
