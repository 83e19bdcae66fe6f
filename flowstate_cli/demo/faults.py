"""Which of the calls to Apps Script fail, and how: a plan, so that two demos fail alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

SHARE = 0.02
"""Of all runs."""

_REACH = 0.6
"""Faults fall on this first part of an instance's calls: the last ones have time to recover."""

# After each of these the run must be done exactly once: some strike before the script runs, some
# while it does, some only its answer. What takes long to recover from comes early.
_MIX: tuple[dict[str, Any], ...] = (
    {"category": "transient"},
    {"category": "rate_service"},
    {"category": "concurrency"},
    {"category": "lock"},
    {"category": "http_5xx", "variant": "not_run"},
    {"category": "echo_lost", "variant": "404"},
    {"category": "network", "variant": "not_run"},
    {"category": "http_5xx", "variant": "ran"},
    {"category": "odd_redirect", "variant": "ran"},
    {"category": "wrong_execution_id"},
    {"category": "first_hop_lost"},
    {"category": "html_instead_of_json", "reads": 1},
    {"category": "echo_lost", "variant": "bounce"},
    {"category": "echo_slow", "ms": 2000},
    {"category": "slow", "ms": 2000},
)


def plan(runs: int, instances: Sequence[str]) -> list[dict[str, Any]]:
    """Injections for the simulator, each for one call: 2 % of `runs`, rounded up.

    Instances take turns. A fault strikes one instance at one of its calls, counted from 1, that
    asks to run a flow.
    """
    count = math.ceil(runs * SHARE)
    reach = max(1, int(runs / len(instances) * _REACH))
    per_instance = math.ceil(count / len(instances))
    kinds = sorted(nth % len(_MIX) for nth in range(count))
    return [
        {
            **_MIX[kind],
            "instance": instances[nth % len(instances)],
            "ops": ["run"],
            "schedule": {"calls": [1 + (nth // len(instances)) * reach // per_instance]},
        }
        for nth, kind in enumerate(kinds)
    ]
