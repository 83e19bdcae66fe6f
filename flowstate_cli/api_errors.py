"""What a failed call to the API means, in the terms of whoever typed the command.

PostgREST versions differ in the codes for the same thing (`42P01` was renamed `PGRST205`), so each
meaning has all its codes here.
"""

from __future__ import annotations

import httpx
from postgrest.exceptions import APIError

from flowstate_cli.errors import BadInputError, CliError, NotReachableError, RefusedError

_MISSING = {"PGRST202", "PGRST204", "PGRST205", "PGRST106", "42P01", "42883", "42703"}
_BAD_KEY = {"PGRST300", "PGRST301", "PGRST302", "PGRST303", "42501"}
_BAD_VALUE = {"22P02", "22003", "22007", "22008", "22023", "23502", "23514", "PGRST102"}
_BUSY = {"PGRST000", "PGRST001", "PGRST002", "PGRST003", "53300", "57P03", "0A000"}


def unreachable(error: httpx.HTTPError, url: str, *, is_local: bool) -> NotReachableError:
    """No HTTP answer at all. `url` is the address that was asked."""
    if isinstance(error, httpx.TimeoutException):
        what = "does not answer in time"
    elif isinstance(error, httpx.ConnectError):
        what = f"does not accept a connection ({_reason(error)})"
    else:
        what = f"broke the connection off ({type(error).__name__})"
    hint = (
        "Is the stack up? See `flowstate status`, start it with `flowstate up`."
        if is_local
        else "Check FLOWSTATE_SUPABASE_URL and this machine's network; `flowstate doctor` tells "
        "more. For a local stack: flowstate up"
    )
    return NotReachableError(f"The API at {url} {what}.", hint=hint, field="FLOWSTATE_SUPABASE_URL")


def no_api(url: str) -> NotReachableError:
    """Something answered at `url`, but not as a Supabase API does."""
    return NotReachableError(
        f"What answers at {url} is not a Supabase API.",
        field="FLOWSTATE_SUPABASE_URL",
        hint="It looks like https://<project>.supabase.co; the dashboard has another address.",
    )


def is_no_error_of_the_api(error: APIError, status: int | None) -> bool:
    """Whether a failure has none of the API's own codes, so that somebody else answered."""
    return error.code == str(status) and status not in {401, 403} and (status or 0) < 500


def refused(error: APIError, status: int | None) -> CliError:
    """The API answered, but not with success. `status` is the HTTP status, where it is known."""
    code = error.code or ""
    message = error.message or f"the API answered with status {status}"
    if code in _MISSING:
        return NotReachableError(
            "The database does not have what this command needs: its migrations are not applied, "
            f"or are older than this command ({message}).",
            hint="Run: flowstate db push",
            code=code,
        )
    if code.startswith("PT4"):
        return _of_the_sql_functions(error, code)
    if code in _BAD_KEY or status in {401, 403}:
        return NotReachableError(
            f"The API refused the key ({message}).",
            field="FLOWSTATE_SERVICE_KEY",
            hint="Use the secret key (sb_secret_…) or the service_role key of this very project; "
            "`flowstate status` prints those of the local stack.",
            code=code,
        )
    # With status 400 and an empty code: the API's connection to the database broke.
    if code in _BUSY or error.code == "" or (status is not None and status >= 500):
        return NotReachableError(
            f"The API cannot answer now ({message}).",
            hint="Try again; if it stays, look at `flowstate doctor`.",
            code=code,
        )
    if code == "57014":
        return RefusedError(
            "The database stopped the query because it took too long.",
            hint="Ask for less: a filter, or a smaller --limit.",
            code=code,
        )
    hint = error.hint or (str(error.details) if error.details else "")
    kind = BadInputError if code in _BAD_VALUE else RefusedError
    return kind(f"{_sentence(message)}", hint=hint, code=code)


def _of_the_sql_functions(error: APIError, code: str) -> CliError:
    """Refusals that name the field and what to do: their words are kept as they are."""
    kind = BadInputError if code == "PT400" else RefusedError
    details = str(error.details).splitlines() if error.details else []
    lines = [*details, error.hint or ""] if len(details) > 1 else [error.hint or ""]
    return kind(
        _sentence(error.message or "refused"), hint="\n  ".join(filter(None, lines)), code=code
    )


def _sentence(message: str) -> str:
    return message if message.endswith((".", "!", "?")) else f"{message}."


def _reason(error: httpx.ConnectError) -> str:
    text = str(error).rpartition("] ")[2] or "no route"
    return text[0].lower() + text[1:]
