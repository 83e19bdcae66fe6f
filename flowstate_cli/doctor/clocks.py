"""Clocks: calls to instances carry a time, and 300 s are all that they forgive."""

from __future__ import annotations

from flowstate_cli.doctor.finding import Finding, fail, ok, warn

_SKEW_WARN_SECONDS = 5.0
_SKEW_FAIL_SECONDS = 120.0


def clock_finding(check: str, skew_seconds: float, advice: str) -> Finding:
    """How far another clock is ahead of this machine's, in words."""
    away = abs(skew_seconds)
    direction = "ahead of" if skew_seconds > 0 else "behind"
    found = f"{away:.1f} s {direction} this machine"
    if away >= _SKEW_FAIL_SECONDS:
        return fail(check, found, advice)
    if away >= _SKEW_WARN_SECONDS:
        return warn(check, found, advice)
    return ok(check, found)
