"""The simulator's own interface: latency, faults, and the ledger of what was done."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx

TIME_SCALE = 0.06
"""Real seconds for one simulated second: a call that takes Google 0.9 s takes 54 ms."""

_QUOTAS_FOR = 1000
"""The simulated accounts' daily quotas are enough for about so many runs."""


@dataclass(frozen=True)
class Ledger:
    """What the simulated accounts and instances saw."""

    steps_done: dict[str, set[str]]
    """Execution id to the names of the steps that had an effect."""
    effects: int
    duplicate_effects: int
    calls: dict[str, int]
    max_in_flight: dict[str, int]
    owners_max_in_flight: dict[str, int]
    faults: dict[str, int]
    """Injected faults that struck, by instance."""
    faults_by_kind: dict[str, int]


class Simulator:
    """Use as a context manager. Raises httpx.HTTPError when the simulator does not answer."""

    def __init__(self, url: str) -> None:
        # The ledger of a large demo is long, and the simulator busy.
        self._http = httpx.Client(base_url=url, timeout=60, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()

    def prepare(self, runs: int, injections: Iterable[dict[str, Any]]) -> bool:
        """Sets pace and faults; whether daily quotas stay in force."""
        quotas = runs <= _QUOTAS_FOR
        self._ask("POST", "settings", {"time_scale": TIME_SCALE, "quotas": quotas})
        for injection in injections:
            self._ask("POST", "injections", injection)
        return quotas

    def ledger(self) -> Ledger:
        """Everything that happened until now."""
        steps_done: defaultdict[str, set[str]] = defaultdict(set)
        for effect in self._ask("GET", "effects"):
            steps_done[effect["executionId"]].add(effect["step"])
        summary = self._ask("GET", "summary")
        faults: Counter[str] = Counter()
        kinds: Counter[str] = Counter()
        for injection in self._ask("GET", "injections"):
            faults[injection["spec"]["instance"]] += injection["hits"]
            kinds[injection["spec"]["category"]] += injection["hits"]
        return Ledger(
            steps_done=dict(steps_done),
            effects=summary["effects"],
            duplicate_effects=summary["duplicate_effects"],
            calls=summary["calls_by_instance"],
            max_in_flight=summary["in_flight_max"]["instance"],
            owners_max_in_flight=summary["in_flight_max"]["owner"],
            faults=dict(faults),
            faults_by_kind=dict(kinds),
        )

    def _ask(self, method: str, name: str, body: dict[str, Any] | None = None) -> Any:
        answer = self._http.request(method, f"/_sim/{name}", json=body)
        answer.raise_for_status()
        return answer.json()
