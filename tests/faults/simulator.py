"""The Apps Script simulator's control calls."""

from __future__ import annotations

from typing import Any

import httpx

Row = dict[str, Any]


class Simulator:
    """Injects faults and reads the ledger of effects, which no worker can write to."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx.Client(base_url=url, timeout=30)

    def close(self) -> None:
        self._http.close()

    # -- looking -----------------------------------------------------------------------------

    def effects(self, execution_id: str | None = None) -> list[Row]:
        """What was done to the outside world, all of it or by one execution."""
        wanted = {"execution_id": execution_id} if execution_id else {}
        return self._rows(self._http.get("/_sim/effects", params=wanted))

    def calls(self) -> list[Row]:
        """The newest 1,000 calls that have ended: instance, op, executionId, fault, answer."""
        return self._rows(self._http.get("/_sim/calls"))

    def runs_of(self, execution_id: str) -> int:
        """How often an instance was asked to run the execution, as far as those calls ended."""
        return sum(
            call["op"] == "run" and call["executionId"] == execution_id for call in self.calls()
        )

    def summary(self) -> Row:
        found: Row = self._answer(self._http.get("/_sim/summary"))
        return found

    def instances(self) -> list[Row]:
        return self._rows(self._http.get("/_sim/instances"))

    # -- moving ------------------------------------------------------------------------------

    def inject(self, category: str, **rule: Any) -> int:
        """Adds a rule; see flowstate_local/simulator/injections.ts for its fields."""
        return int(self._post("injections", {"category": category, **rule})["id"])

    def faults(self) -> set[str]:
        """The names of all faults that there are."""
        refusal = self._http.post("/_sim/injections", json={"category": "?"}).json()["error"]
        return set(refusal.removeprefix("category must be one of ").split(", "))

    def add_instance(self, name: str, owner: str, keys: dict[str, str]) -> None:
        deployment = {"deployment_id": f"AKfycb-{name}", "name": name, "owner": owner, "keys": keys}
        self._post("instances", deployment)

    def delay_calls(self, seconds: float) -> None:
        """Calls from now on take so long until their script begins; 0: no time at all."""
        # Three fifths of the first hop lie before the script.
        latency = {"first_hop_median_ms": seconds * 1000 / 0.6, "first_hop_sigma": 0}
        self._post("settings", {"time_scale": 1 if seconds else 0, "latency": latency})

    def advance_scripts(self, seconds: float) -> None:
        """What scripts take for now moves ahead. Signatures are good for 300 s."""
        self._post("clock", {"advance_seconds": seconds, "scripts": True})

    def reset(self) -> None:
        """Nothing has happened, nothing takes time, and no daily quota is in the way."""
        self._post("reset", {})
        self._post("settings", {"time_scale": 0, "quotas": False})

    def _post(self, name: str, body: Row) -> Row:
        answer: Row = self._answer(self._http.post(f"/_sim/{name}", json=body))
        return answer

    def _rows(self, response: httpx.Response) -> list[Row]:
        rows: list[Row] = self._answer(response)
        return rows

    def _answer(self, response: httpx.Response) -> Any:
        assert response.status_code == 200, response.text
        return response.json()
