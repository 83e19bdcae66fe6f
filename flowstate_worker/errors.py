"""What can go wrong in the worker, as one tree.

FlowStateError
├── SettingsInvalid        exit 2  a FLOWSTATE_ setting is missing or contradicts another
├── ApiError                       a call to the Supabase API did not give an answer to use
│   ├── ApiUnreachable     exit 5  no answer: refused, reset, timed out, 5xx; worth another try
│   ├── ApiKeyRefused      exit 3  401 or 403: the key is wrong or is not the service role's
│   ├── MigrationsMissing  exit 4  the RPC does not exist in this database
│   └── ApiRefused                 the request itself was refused; the same again will be too
├── TokenUnreadable                a sealed Google token does not open
├── AddressRefused                 an instance's or a redirect's address is not on the allow-list
├── LoopDied               exit 1  a background loop ended although nobody asked it to
└── OutcomesNotStored      exit 1  the drain ended before the API took the last outcomes

Every error says what happened, what it means and what to do; none carries a key, a token or mail
content.
"""

from typing import ClassVar


class FlowStateError(Exception):
    """The root of the tree. `exit_code` is what the worker's process ends with."""

    exit_code: ClassVar[int] = 1


class SettingsInvalid(FlowStateError):
    """One or more settings cannot be used; the message has one line for each, with its name."""

    exit_code = 2


class ApiError(FlowStateError):
    """A call to the Supabase API failed.

    `status` is the HTTP status (None: there was no answer), `code` the SQLSTATE or PostgREST code.
    """

    def __init__(self, message: str, *, status: int | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class ApiUnreachable(ApiError):
    """No answer, or an answer that says "not now". Whether the call took effect is unknown."""

    exit_code = 5


class ApiKeyRefused(ApiError):
    """The API refused FLOWSTATE_SERVICE_KEY."""

    exit_code = 3


class MigrationsMissing(ApiError):
    """The database has no such function: its migrations are older than this worker."""

    exit_code = 4


class ApiRefused(ApiError):
    """The request was understood and refused; nothing took effect."""


class TokenUnreadable(FlowStateError):
    """A sealed token that does not open here.

    `reason`: `unknown_key`, `unknown_version`, `unreadable` (not in the sealed form) or `tampered`.
    """

    def __init__(self, reason: str, says: str) -> None:
        super().__init__(
            f"a sealed Google token does not open: {says}. Set FLOWSTATE_TOKEN_KEYS to hold the "
            "key that it was sealed with; where that is lost, the user connects again"
        )
        self.reason = reason


class AddressRefused(FlowStateError):
    """An address that the worker must not call. The message names the rule, never the query."""


class LoopDied(FlowStateError):
    """A background loop ended by itself. The worker stops; its leases end and are rescued."""

    def __init__(self, loop: str, reason: str) -> None:
        super().__init__(
            f"the loop {loop!r} ended by itself ({reason}); the worker cannot go on without it. "
            "Running executions are rescued when their leases end; restart the worker."
        )
        self.loop = loop


class OutcomesNotStored(FlowStateError):
    """Outcomes were still unsaved when the drain's time was over; rescue will settle them."""
