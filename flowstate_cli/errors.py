"""Failures of the command line, and the one place where exit codes are defined.

    CliError
    ├── RefusedError       1  the thing failed, or was refused
    ├── BadInputError      2  usage, or input that cannot be right
    └── NotReachableError  3  something needed is not reachable or not set up

0 is success. Each error says what happened, and its hint says what to do.
"""

from __future__ import annotations

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_NOT_REACHABLE = 3


class CliError(Exception):
    """A failure with a message for people; `field` names the input at fault, if it is one."""

    exit_code = EXIT_FAILED

    def __init__(self, message: str, *, hint: str = "", field: str = "", code: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.field = field
        self.code = code

    def as_json(self) -> dict[str, object]:
        """What `--json` prints for it; keys without a value are left out."""
        parts = {
            "message": self.message,
            "hint": self.hint,
            "field": self.field,
            "code": self.code,
        }
        return {
            "error": {
                **{key: value for key, value in parts.items() if value},
                "exit_code": self.exit_code,
            }
        }


class RefusedError(CliError):
    """The thing that was asked for failed or was refused."""

    exit_code = EXIT_FAILED


class BadInputError(CliError):
    """An argument, an option or a file that cannot be right."""

    exit_code = EXIT_BAD_INPUT


class NotReachableError(CliError):
    """A server, a program or a setting that is needed is missing or does not answer."""

    exit_code = EXIT_NOT_REACHABLE
