"""The classification table as executions: a fault each, and what has to become of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Where = Literal["same", "another", "another_owner"]

FLOW: Mapping[str, Any] = {
    "steps": [
        {"name": "find", "type": "gmail.search", "args": {"query": "is:unread", "max": 1}},
        {
            "name": "send",
            "type": "gmail.send",
            "args": {"to": "one@example.com", "subject": "Once", "body": "{{input.text}}"},
        },
        {
            "name": "note",
            "type": "sheets.append_rows",
            "args": {"spreadsheet": "sample-spreadsheet", "rows": [["{{send.to}}"]]},
        },
    ]
}
SENDS_AT_ONCE: Mapping[str, Any] = {"steps": FLOW["steps"][1:]}
SENT_AND_NOTED = 2


@dataclass(frozen=True)
class Case:
    """A fault of the first call of one execution, and how the execution goes on."""

    fault: str
    variant: str | None = None
    rule: Mapping[str, Any] = field(default_factory=dict)

    category: str | None = None
    """Of the first attempt's failure; None: that attempt succeeds all the same."""
    then: Where | None = None
    """Where the second attempt runs; None: there is none."""
    spent: bool = False
    """Whether the first attempt counts."""
    ends: str = "succeeded"
    effects: int = SENT_AND_NOTED
    flow: Mapping[str, Any] = field(default_factory=lambda: FLOW)

    def __str__(self) -> str:
        return "-".join(filter(None, (self.fault, self.variant, self.category)))


def done(fault: str, variant: str | None = None, **rule: Any) -> Case:
    """The script ran and only its answer is missing: the same attempt still hears of it."""
    return Case(fault, variant, rule)


def moved(category: str, variant: str | None, then: Where, fault: str = "", **rule: Any) -> Case:
    """The script did not run: another instance may, and no attempt is spent."""
    return Case(fault or category, variant, rule, category, then)


def held(category: str, variant: str | None, fault: str = "", *, spent: bool) -> Case:
    """It may have run, or may soon run there: the same instance, which is asked first."""
    return Case(fault or category, variant, {}, category, "same", spent)


def ended(category: str, variant: str | None, ends: str, effects: int, **rule: Any) -> Case:
    """No attempt can mend it."""
    fault, flow = rule.pop("fault", category), rule.pop("flow", FLOW)
    return Case(fault, variant, rule, category, None, True, ends, effects, flow)


CASES = (
    done("echo_lost", "404"),
    done("echo_lost", "bounce"),
    done("echo_lost", "timeout", reads=1),
    done("odd_redirect", "ran"),
    done("http_5xx", "ran"),
    done("network", "ran"),
    done("network", "timeout"),
    done("first_hop_lost"),
    done("echo_slow", ms=300),
    done("html_instead_of_json"),
    done("wrong_execution_id"),
    done("slow", "claim", ms=300),
    done("slow", "effect", ms=300),
    moved("login", "redirect", "another"),
    moved("login", "page", "another"),
    moved("http_auth", "401", "another"),
    moved("http_auth", "403", "another"),
    moved("needs_auth", "page", "another"),
    moved("needs_auth", "exception", "another"),
    moved("deployment_missing", None, "another"),
    moved("function_missing", None, "another"),
    moved("concurrency", "page", "another_owner"),
    moved("concurrency", "exception", "another_owner"),
    moved("daily_quota", None, "another_owner"),
    moved("http_429", None, "another_owner", retry_after=1),
    held("rate_service", None, spent=False),
    held("lock", None, spent=False),
    held("transient", "exception", spent=False),
    held("transient", "page", spent=True),
    held("odd_redirect", "not_run", spent=True),
    held("http_5xx", "not_run", spent=True),
    held("network", "not_run", spent=True),
    held("network", None, "dead", spent=True),
    held("transient", None, "killed_before_marker", spent=False),
    ended("no_return", None, "dead", 2),
    ended("script_error", "not_run", "dead", 0),
    ended("script_error", "ran", "dead", 2),
    ended("client_bug", None, "dead", 0),
    ended("flow_error", None, "failed", 0),
    ended("execution_timeout", "before_marker", "failed", 0),
    ended("execution_timeout", "mid_effect", "failed", 1),
    # A send that was begun and of which nothing is known is never repeated by itself.
    ended("needs_review", None, "dead", 1, fault="killed_mid_effect"),
    ended("needs_review", "exception", "dead", 0, fault="transient", flow=SENDS_AT_ONCE),
)
