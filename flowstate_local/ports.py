"""Choosing TCP ports on loopback: those asked for, those remembered, or free ones."""

from __future__ import annotations

import random
import socket

from flowstate_local.errors import LocalStackError, PortTakenError

# Below the ranges that Linux (32768…) and macOS (49152…) take outgoing connections from: a
# component which is stopped and started again under load must find its port still free.
_FIRST, _LAST = 20_000, 32_000


def is_free(port: int) -> bool:
    """Whether 127.0.0.1:`port` can be bound now. Connections in TIME_WAIT do not count."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def choose(name: str, *, asked: int = 0, remembered: int = 0, taken: frozenset[int]) -> int:
    """A port for the part called `name`.

    A port that was `asked` for is used or refused; a `remembered` one is used while it is free;
    otherwise any free port outside `taken` (ports that this stack has already given away but
    nobody listens on yet).

    Raises:
        PortTakenError: the asked port is in use.
        LocalStackError: the asked port is no port number, or none is free.
    """
    if asked:
        if not 1 <= asked <= 65_535:
            raise LocalStackError(f"{name} is {asked}: a port is a number from 1 to 65535")
        if asked in taken or not is_free(asked):
            raise PortTakenError(asked, name)
        return asked
    if remembered and remembered not in taken and is_free(remembered):
        return remembered
    for _ in range(500):
        port = random.randrange(_FIRST, _LAST)  # noqa: S311 - no secret
        if port not in taken and is_free(port):
            return port
    raise LocalStackError(f"{name}: no free port found between {_FIRST} and {_LAST}")
