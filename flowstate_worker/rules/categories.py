"""Every way in which a call to an instance can end without a result, and what follows from each.

The rows are the project's reading of public reports on Apps Script web apps (docs/worker.md names
them). They are data: `flowstate_worker.rules.classification` finds the row,
`flowstate_worker.rules.outcomes` acts on it.
"""

from dataclasses import dataclass

from flowstate_worker.rules.backoff import Delay, Spread, Steps
from flowstate_worker.rules.models import Breaker, Ran, RetryOn


@dataclass(frozen=True, slots=True)
class Category:
    """One row.

    `name`: as in logs, metrics and the execution's error. Some names have two rows, told apart by
      the keys of `ROWS`.
    `ran`: did the script run, unless the answer itself says so.
    `retry`, `retry_on`, `delay`: the execution's next attempt. Another instance gets it only when
      `ran` is none.
    `breaker`: what it says about the instance's health.
    `says`: what happened and what to do, for people; never a part of the answer.
    `ask`: ask the same instance for the result of the execution before anything else.
    `user_error`: the flow's author can mend it, nobody else.
    `held_delay`: instead of `delay`, where the row names another instance but the flow must stay on
      this one.
    `spends`: whether the attempt counts; one in which the script did not run never does.
    """

    name: str
    ran: Ran
    retry: bool
    breaker: Breaker
    delay: Delay
    says: str
    retry_on: RetryOn = RetryOn.SAME
    ask: bool = False
    user_error: bool = False
    held_delay: Delay | None = None
    spends: bool = True


_SOON = Spread(0.2, 2.0)  # another instance takes over; only long enough to keep a herd apart
_DOUBLING = Steps((2.0, 4.0, 8.0))
_NEVER = Steps((0.0,))

_NONE, _UNKNOWN, _PARTIAL, _ALL = Ran.NONE, Ran.UNKNOWN, Ran.PARTIAL, Ran.ALL
_COUNTS, _TRIPS, _QUIET = Breaker.FAILURE, Breaker.TRIP, Breaker.IGNORE


def _another(name: str, breaker: Breaker, says: str, delay: Delay = _SOON) -> Category:
    """The script did not run: any other instance may."""
    return Category(name, _NONE, True, breaker, delay, says, RetryOn.ANOTHER)


def _another_owner(name: str, says: str, delay: Delay) -> Category:
    """The owner's account is at a limit: its other instances are as well."""
    return Category(name, _NONE, True, _QUIET, delay, says, RetryOn.ANOTHER_OWNER)


def _same(name: str, ran: Ran, breaker: Breaker, says: str, delay: Delay = _DOUBLING) -> Category:
    return Category(name, ran, True, breaker, delay, says)


def _ask(name: str, ran: Ran, breaker: Breaker, says: str, delay: Delay = _DOUBLING) -> Category:
    """The script ran or may have: the same instance is asked for the result of that execution."""
    return Category(name, ran, True, breaker, delay, says, ask=True)


def _final(name: str, ran: Ran, breaker: Breaker, says: str) -> Category:
    return Category(name, ran, False, breaker, _NEVER, says)


def _users(name: str, ran: Ran, says: str) -> Category:
    return Category(name, ran, False, _QUIET, _NEVER, says, user_error=True)


ROWS: dict[str, Category] = {
    # The HTTP exchange
    "echo_lost": _ask(
        "echo_lost", _ALL, _QUIET, "The script ran, but its answer was lost behind the redirect."
    ),
    "odd_redirect": _ask(
        "odd_redirect",
        _UNKNOWN,
        _COUNTS,
        "The instance redirected to an address that holds no answer.",
        Steps((2.0,)),
    ),
    "foreign_answer": _ask(
        "foreign_answer",
        _UNKNOWN,
        _COUNTS,
        "The answer belongs to another execution or to no execution.",
        Steps((2.0,)),
    ),
    "login": _another(
        "login", _TRIPS, "The instance asks for a login: deploy it with access for anyone."
    ),
    "http_auth": _another(
        "http_auth", _TRIPS, "The instance denies access: check who may open its deployment."
    ),
    "deployment_missing": _another(
        "deployment_missing", _COUNTS, "There is no deployment at the instance's address."
    ),
    "http_429": _another_owner(
        "http_429", "The instance's owner sends too many requests.", Steps((30.0,))
    ),
    "http_5xx": _ask("http_5xx", _UNKNOWN, _COUNTS, "The instance answered with a server error."),
    "network": _another(
        "network", _COUNTS, "The instance could not be reached.", Steps((1.0, 2.0, 4.0))
    ),
    "network_unknown": _ask(
        "network",
        _UNKNOWN,
        _COUNTS,
        "The connection to the instance ended before it answered.",
        Steps((1.0, 2.0, 4.0)),
    ),
    "client_bug": _final(
        "client_bug", _NONE, _QUIET, "The instance refused the request's form: report this."
    ),
    # Pages and envelopes
    "needs_auth": _another(
        "needs_auth", _TRIPS, "The owner must open the script once and grant what it asks for."
    ),
    "needs_auth_inside": Category(
        "needs_auth",
        _UNKNOWN,
        True,
        _TRIPS,
        _SOON,
        "A step lacks an authorization: the owner must run the script once and grant it.",
        RetryOn.ANOTHER,
        held_delay=Steps((60.0, 300.0, 900.0)),
    ),
    "function_missing": _another(
        "function_missing", _TRIPS, "The deployment has no doPost: deploy Code.gs again."
    ),
    "no_return": _final(
        "no_return", _ALL, _TRIPS, "The script ended without an answer: deploy Code.gs again."
    ),
    "concurrency": _another_owner(
        "concurrency", "The owner's account runs too many scripts at once.", Spread(1, 30)
    ),
    "rate_service": _same(
        "rate_service",
        _UNKNOWN,
        _QUIET,
        "A Google service was called too often in a short time.",
        Spread(5, 60),
    ),
    "daily_quota": Category(
        "daily_quota",
        _UNKNOWN,
        True,
        _QUIET,
        _SOON,
        "The owner's account used up a daily quota.",
        RetryOn.ANOTHER_OWNER,
        held_delay=Steps((3600.0, 7200.0, 14400.0, 28800.0)),  # it is back within 24 hours
    ),
    "execution_timeout": _users(
        "execution_timeout", _PARTIAL, "The flow ran longer than a script may: give it less to do."
    ),
    "lock": _same(
        "lock", _NONE, _QUIET, "Another run held the script's lock for too long.", Spread(2, 5)
    ),
    "transient": _same("transient", _UNKNOWN, _QUIET, "A Google service failed for a moment."),
    "transient_page": _same(
        "transient", _UNKNOWN, _COUNTS, "The instance answered with Google's page for an error."
    ),
    "script_error": _final(
        "script_error", _UNKNOWN, _COUNTS, "Code.gs failed: report this with the execution's id."
    ),
    "flow_error": _users("flow_error", _ALL, "The flow failed by its own steps or data."),
    "needs_review": _final(
        "needs_review",
        _PARTIAL,
        _QUIET,
        "A side effect was begun and its outcome is unknown: look, then decide whether to replay.",
    ),
    "signature_refused": _another(
        "signature_refused",
        _TRIPS,
        "The instance refused the signature: compare its HMAC_<kid> and INSTANCE_NAME properties.",
    ),
    # The worker's own
    "result_too_large": _users(
        "result_too_large", _ALL, "The flow's result is larger than 90 KB: return less."
    ),
    "still_running": _ask(
        "still_running",
        _UNKNOWN,
        _QUIET,
        "The script still runs; its result is asked for later.",
        Steps((10.0, 20.0, 40.0)),
    ),
    "address_refused": _another(
        "address_refused", _TRIPS, "The instance's address is not on the worker's allow-list."
    ),
    "unknown_key": _another(
        "unknown_key", _TRIPS, "FLOWSTATE_INSTANCE_KEYS has no key with the instance's key id."
    ),
    "result_refused": _users(
        "result_refused", _ALL, "The result holds something that the database cannot store."
    ),
    "unknown_flow_kind": _users(
        "unknown_flow_kind", _NONE, "This worker has no way to run flows of that kind."
    ),
    "malformed_claim": _final(
        "malformed_claim", _NONE, _QUIET, "The queue handed out a row that the worker cannot read."
    ),
    "drained": Category(
        "drained",
        _UNKNOWN,
        True,
        _QUIET,
        Spread(1, 2),
        "The worker stopped before the answer came; the next attempt asks for it.",
        spends=False,
    ),
    "cancelled": _final("cancelled", _UNKNOWN, _QUIET, "Cancelled before its outcome was known."),
    "worker_error": _ask(
        "worker_error", _UNKNOWN, _QUIET, "The worker failed while it handled the execution."
    ),
}
