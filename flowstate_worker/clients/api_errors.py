"""Reads failed calls to the Supabase API as errors of `flowstate_worker.errors`.

What counts is whether the same call may succeed later. SQLSTATEs are looked at before the status,
because PostgREST gives some passing conditions a status of 4xx.
"""

import httpx
from aiohttp import ClientError
from postgrest.exceptions import APIError

from flowstate_worker.errors import (
    ApiError,
    ApiKeyRefused,
    ApiRefused,
    ApiUnreachable,
    MigrationsMissing,
)
from flowstate_worker.rules.redaction import redact_text

NO_ANSWER = (httpx.HTTPError, ClientError, OSError, TimeoutError)
"""What a call raises that brought no answer."""

# Connection, rollback, resources, operator's intervention, system; a lock not got; read-only, where
# a standby that has not taken over yet says "not supported during recovery".
_PASSING_STATES = ("08", "40", "53", "57", "58", "55P03", "25006", "0A000")
_BROKEN = ""
"""PostgREST's code, with status 400, for a database connection that broke in mid-statement."""
_PASSING_POSTGREST = frozenset({"PGRST000", "PGRST001", "PGRST002", "PGRST003"})
_KEY_CODES = frozenset({"42501", "PGRST300", "PGRST301", "PGRST302", "PGRST303"})
_MISSING = frozenset({"PGRST202", "PGRST203", "42883", "42P01", "42703", "3F000"})
_PASSING_STATUS = frozenset({408, 425, 429})
_ABOUT_THE_REQUEST = frozenset({400, 413, 422})
"""Statuses that speak of this very request even where no PostgREST answered. Others, such as a
proxy's 404 or a redirect, say nothing about an outcome: it is kept and sent again."""


_WHOSE = "is FLOWSTATE_SUPABASE_URL the address of the project's API?"


def no_answer(call: str, error: BaseException) -> ApiUnreachable:
    """The call brought no answer; whether it took effect is unknown."""
    return ApiUnreachable(f"{call}: no answer from the API ({type(error).__name__})")


def unreadable(call: str, problem: str) -> ApiUnreachable:
    """Something answered with success, but not the API: a proxy's or a maintenance page.

    It is no refusal, and the call may have taken effect.
    """
    return ApiUnreachable(f"{call}: unreadable answer ({problem}); {_WHOSE}", status=200)


def read_refusal(call: str, error: APIError, status: int | None) -> ApiError:
    """The API answered with an error."""
    code = error.code or ""
    says = f"{call}: {status or ''} {code} {redact_text(error.message or '')}"[:500]
    if code.isdigit() and len(code) == 3:  # the client's way to say: no error of PostgREST's
        status, code = status or int(code), ""
    if code in _MISSING:
        return MigrationsMissing(
            f"{says}. The database is older than this worker: run `flowstate db push`",
            status=status,
            code=code,
        )
    if _passing(code, status, broken=error.code == _BROKEN and status == 400):
        return ApiUnreachable(says, status=status, code=code)
    if status in {401, 403} or code in _KEY_CODES:
        return ApiKeyRefused(
            f"{says}. FLOWSTATE_SERVICE_KEY must be the project's secret key (sb_secret_…) "
            "or its service_role token",
            status=status,
            code=code,
        )
    if code or status in _ABOUT_THE_REQUEST:
        return ApiRefused(says, status=status, code=code)
    return ApiUnreachable(f"{says}; {_WHOSE}", status=status, code=code)


def _passing(code: str, status: int | None, *, broken: bool) -> bool:
    if code.startswith("PT"):  # raised by our own functions, with the status they mean
        return False
    return (
        broken
        or code.startswith(_PASSING_STATES)
        or code in _PASSING_POSTGREST
        or status in _PASSING_STATUS
        or (status or 0) >= 500
    )
