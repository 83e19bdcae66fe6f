"""Who the users are and what each asks for. The same size and limits give the same plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from flowstate_cli.demo.flows import KINDS, Kind
from flowstate_cli.demo.size import Size

TIERS = ("free", "pro", "enterprise")
_WEIGHTS = {"free": 2, "pro": 4, "enterprise": 10}
_FLOWS_OWNED = {"free": 2, "pro": 3, "enterprise": len(KINDS)}
_TOO_MANY = 4
"""A free user who asks for more than the hour allows asks for this many more."""


@dataclass(frozen=True)
class Person:
    """One user; `asks` runs of the flows in `kinds`, in turn."""

    number: int
    tier: str
    kinds: tuple[Kind, ...]
    asks: int

    @property
    def email(self) -> str:
        return f"user{self.number:05d}@example.com"


@dataclass(frozen=True)
class Ask:
    """One run that one user asks for. `number` is unique in the demo, from 0."""

    number: int
    person: Person
    kind: Kind


def make_people(size: Size, hour_limits: Mapping[str, int | None]) -> list[Person]:
    """Two thirds are free users, four fifteenths pro, the rest enterprise.

    One free user in twenty asks for more than `hour_limits` allows; all others share the rest of
    the runs by the weight of their tier.
    """
    enterprise, pro = round(size.users / 15), round(size.users * 4 / 15)
    tiers = ["enterprise"] * enterprise + ["pro"] * pro
    tiers = ["free"] * (size.users - len(tiers)) + tiers
    greedy_asks = (hour_limits.get("free") or 0) + _TOO_MANY
    free = tiers.count("free")
    # Never so many that little is left for the others, or nobody to take the rest.
    greedy = min(-(-free // 20), size.flows // (3 * greedy_asks), size.users - 1)
    asks = [greedy_asks] * greedy
    asks += _shares(size.flows - greedy * greedy_asks, [_WEIGHTS[t] for t in tiers[greedy:]])
    return [
        Person(number, tier, _kinds(number, tier), asks[number])
        for number, tier in enumerate(tiers)
    ]


def expected_runs(people: Sequence[Person], hour_limits: Mapping[str, int | None]) -> int:
    """How many runs the limits will let in."""
    limits = {tier: limit for tier, limit in hour_limits.items() if limit is not None}
    return sum(min(person.asks, limits.get(person.tier, person.asks)) for person in people)


def make_asks(people: Sequence[Person], *, seed: int = 1) -> list[Ask]:
    """All runs asked for, in a shuffled order: users do not wait for each other."""
    wanted = [
        (person, person.kinds[nth % len(person.kinds)])
        for person in people
        for nth in range(person.asks)
    ]
    Random(seed).shuffle(wanted)  # noqa: S311 - an order, no secret
    return [Ask(number, person, kind) for number, (person, kind) in enumerate(wanted)]


def _kinds(number: int, tier: str) -> tuple[Kind, ...]:
    """Neighbours own different ones, so that all kinds are asked for alike."""
    return tuple(KINDS[(number + nth) % len(KINDS)] for nth in range(_FLOWS_OWNED[tier]))


def _shares(total: int, weights: list[int]) -> list[int]:
    """`total` divided by weight in whole numbers that add up."""
    shares, given, seen, everything = [], 0, 0, sum(weights)
    for weight in weights:
        seen += weight
        shares.append(total * seen // everything - given)
        given += shares[-1]
    return shares
