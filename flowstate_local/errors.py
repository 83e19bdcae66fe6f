"""What can go wrong while a local stack is made, started or stopped.

LocalStackError
├── UnsupportedPlatformError  a part has no binary for this machine
├── PortTakenError            a port that was asked for belongs to another process
├── ComponentFailedError      a process did not become ready; carries the end of its log
├── MigrationsFailedError     `supabase db push` refused; carries its output
├── StackNotStartedError      something was asked that only a started stack knows
└── StackBusyError            another process is starting or stopping the same stack
"""

from __future__ import annotations


class LocalStackError(Exception):
    """Base of all errors of the local stack. The message says what to do."""


class UnsupportedPlatformError(LocalStackError):
    """A part has no binary for this machine; the message names the ways to provide one."""


class PortTakenError(LocalStackError):
    """A port that was asked for is taken by another process."""

    def __init__(self, port: int, name: str) -> None:
        self.port = port
        self.name = name
        option = "--" + name.replace("_", "-")
        super().__init__(
            f"port {port} ({name}) is taken by another process; "
            f"choose another with {option} or stop it"
        )


class ComponentFailedError(LocalStackError):
    """A component ended, or was not ready in time. The message carries the end of its log."""


class MigrationsFailedError(LocalStackError):
    """`supabase db push` failed. The message carries its output, without passwords."""


class StackNotStartedError(LocalStackError):
    """Keys and ports are made by the first start; nothing is known before."""


class StackBusyError(LocalStackError):
    """Another process holds this stack's folder and did not let go in time."""
