"""Who is at the keyboard, for the audit trail: a service key alone says only which door it was."""

from __future__ import annotations

import getpass
import re
import socket

ACTOR_HEADER = "x-flowstate-actor"
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9._-]")
_USER_LENGTH, _HOST_LENGTH = 39, 60


def current_actor() -> str:
    """`<user>@<host>` of this process: at most 100 plain characters, whatever the machine says.

    It is a claim, not a proof: whoever holds the key can send another name.
    """
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container whose user id has no name
        user = ""
    return f"{_plain(user, _USER_LENGTH)}@{_plain(socket.gethostname(), _HOST_LENGTH)}"


def _plain(name: str, length: int) -> str:
    return _NOT_PLAIN.sub("-", name)[:length] or "unknown"
