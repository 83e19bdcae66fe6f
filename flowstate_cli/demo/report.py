"""The figures at the end: tables for people, and one document for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from flowstate_cli.demo.flows import KIND_BY_NAME
from flowstate_cli.demo.people import Admission
from flowstate_cli.demo.plan import TIERS, Person
from flowstate_cli.demo.progress import count
from flowstate_cli.demo.simulator import Ledger
from flowstate_cli.demo.verdict import Verdict, percentile
from flowstate_cli.output import emit_table

FILE = Path(".flowstate") / "demo.json"


@dataclass(frozen=True)
class Result:
    """All that a demo brought to light."""

    people: Sequence[Person]
    admission: Admission
    verdict: Verdict
    ledger: Ledger
    instances: Sequence[tuple[str, str]]
    """Name and owner."""
    worker_exit_code: int
    duration_seconds: float

    @property
    def problems(self) -> list[str]:
        """What must never happen, in sentences; empty when all went well."""
        lost, twice = len(self.verdict.lost), self.ledger.duplicate_effects
        found = []
        if lost:
            what = count(lost, "accepted execution")
            found.append(f"{what} {_was(lost)} lost, such as {self.verdict.lost[0]}.")
        if twice:
            found.append(f"{count(twice, 'effect')} {_was(twice)} done twice.")
        if self.worker_exit_code:
            found.append(f"The worker did not drain: it ended with {self.worker_exit_code}.")
        return found

    def as_json(self) -> dict[str, Any]:
        """The content of demo.json. Times are seconds; a wait is from queued to first start."""
        verdict, ledger = self.verdict, self.ledger
        rate = verdict.finals / verdict.seconds if verdict.seconds else 0.0
        return {
            "users": len(self.people),
            "flows": sum(person.asks for person in self.people),
            "accepted": verdict.accepted,
            "refused": self.admission.refused,
            "enqueued_by_users": self.admission.by_own_token,
            "enqueued_in_bulk": self.admission.in_bulk,
            "succeeded": verdict.outcomes["succeeded"],
            "failed": verdict.outcomes["failed"],
            "dead": verdict.outcomes["dead"],
            "lost": len(verdict.lost),
            "duplicate_effects": ledger.duplicate_effects,
            "effects": ledger.effects,
            "faults_injected": sum(ledger.faults.values()),
            "faults_by_kind": ledger.faults_by_kind,
            "retried": verdict.retried,
            **_waits(verdict.waits),
            "executions_per_second": round(rate, 1),
            "duration_seconds": round(self.duration_seconds, 1),
            "tiers": {tier: self._tier(tier) for tier in TIERS},
            "instances": {name: self._instance(name, owner) for name, owner in self.instances},
            "owners_max_in_flight": ledger.owners_max_in_flight,
        }

    def _tier(self, tier: str) -> dict[str, Any]:
        figures = self.verdict.tiers[tier]
        return {
            "users": sum(person.tier == tier for person in self.people),
            "accepted": figures.accepted,
            "refused": self.admission.refused_by_tier[tier],
            **{state: figures.outcomes[state] for state in ("succeeded", "failed", "dead")},
            **_waits(figures.waits),
        }

    def _instance(self, name: str, owner: str) -> dict[str, Any]:
        ledger = self.ledger
        return {
            "owner": owner,
            "calls": ledger.calls.get(name, 0),
            "succeeded": self.verdict.succeeded_by_instance[name],
            "faults": ledger.faults.get(name, 0),
            "max_in_flight": ledger.max_in_flight.get(name, 0),
        }


def write(project: Path, figures: Mapping[str, Any]) -> Path:
    """Writes .flowstate/demo.json, whole or not at all."""
    path = project / FILE
    path.parent.mkdir(mode=0o700, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)
    return path


def remove(project: Path) -> None:
    """Figures of an earlier demo, which must not be taken for those of one that fails."""
    (project / FILE).unlink(missing_ok=True)


def summary(figures: Mapping[str, Any]) -> str:
    """The demo in a sentence or two, of one in which nothing went wrong."""
    return (
        f"{count(figures['accepted'], 'run')} accepted, {figures['refused']} refused by the limit "
        f"of their tier. {count(figures['faults_injected'], 'fault')} injected, "
        f"{count(figures['retried'], 'run')} tried again. "
        "Nothing was lost, nothing was done twice."
    )


def show(figures: Mapping[str, Any], verdict: Verdict, result_of_story: Mapping[str, Any]) -> None:
    """The tables, on stdout."""
    print()
    emit_table(
        ("tier", "users", "accepted", "refused", "succeeded", "failed", "dead", "wait p50", "p95"),
        [_cells(tier, row) for tier, row in [*figures["tiers"].items(), ("all", figures)]],
    )
    print()
    emit_table(
        ("instance", "owner", "calls", "succeeded", "faults", "max in flight"),
        [(name, *row.values()) for name, row in figures["instances"].items()],
    )
    if verdict.story:
        print()
        _show_story(verdict.story, result_of_story)
    print()


def _cells(tier: str, row: Mapping[str, Any]) -> Sequence[object]:
    names = ("users", "accepted", "refused", "succeeded", "failed", "dead")
    waits = [row["wait_p50_seconds"], row["wait_p95_seconds"]]
    return (tier, *(row[n] for n in names), *(None if w is None else f"{w:.2f} s" for w in waits))


def _show_story(attempts: Sequence[Mapping[str, Any]], result: Mapping[str, Any]) -> None:
    """One flow's log. Of results only counts and ids are shown: the rest is mail."""
    first = attempts[0]
    queued_at = datetime.fromisoformat(first["queued_at"])
    print(f"One of them: “{first['flow_name']}” of a user on the {first['tier']} tier")
    emit_table(
        ("attempt", "instance", "started", "took", "outcome"),
        [
            (
                row["attempt"],
                row["instance_name"],
                f"+{(datetime.fromisoformat(row['started_at']) - queued_at).total_seconds():.2f} s",
                f"{(row['duration_ms'] or 0) / 1000:.2f} s",
                row["outcome"] if row["is_final"] else f"{row['category']}, tried again",
            )
            for row in attempts
        ],
    )
    emit_table(
        ("step", "type", "result"),
        [
            (step["name"], step["type"], _brief(result.get(step["name"])))
            for step in KIND_BY_NAME[first["flow_name"]].steps
        ],
    )


def _brief(result: Any) -> str:
    if not isinstance(result, dict):
        return "-"
    parts = []
    for name, value in result.items():
        if isinstance(value, list):
            parts.append(f"{name}: {len(value)}")
        elif isinstance(value, int) or name.endswith("Id"):
            parts.append(f"{name}: {value}")
    return ", ".join(parts)


def _was(number: int) -> str:
    return "was" if number == 1 else "were"


def _waits(waits: Sequence[float]) -> dict[str, float | None]:
    shares = {"wait_p50_seconds": 0.5, "wait_p95_seconds": 0.95}
    found = {name: percentile(waits, share) for name, share in shares.items()}
    return {name: None if value is None else round(value, 3) for name, value in found.items()}
