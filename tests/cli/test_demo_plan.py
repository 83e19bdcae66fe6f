"""Who asks for what in the demo, and which calls fail."""

from __future__ import annotations

from collections import Counter

import pytest

from flowstate_cli.demo import faults
from flowstate_cli.demo.plan import expected_runs, make_asks, make_people
from flowstate_cli.demo.size import Size

LIMITS: dict[str, int | None] = {"free": 5, "pro": 30, "enterprise": 100}
INSTANCES = ["local-1", "local-2", "local-3", "local-4", "local-5"]


def test_the_usual_demo_has_two_hundred_free_eighty_pro_and_twenty_enterprise_users() -> None:
    people = make_people(Size(), LIMITS)
    assert Counter(person.tier for person in people) == {"free": 200, "pro": 80, "enterprise": 20}


def test_in_the_usual_demo_most_are_accepted_and_some_free_users_are_refused() -> None:
    people = make_people(Size(), LIMITS)
    greedy = [person for person in people if person.asks > (LIMITS[person.tier] or 0)]
    assert {person.tier for person in greedy} == {"free"}
    assert 900 < expected_runs(people, LIMITS) < 1000


def test_all_five_kinds_are_asked_for_alike() -> None:
    kinds = Counter(ask.kind.name for ask in make_asks(make_people(Size(), LIMITS)))
    assert len(kinds) == 5
    assert max(kinds.values()) < 1.3 * min(kinds.values())


@pytest.mark.parametrize("flows", [1, 2, 26, 27, 40, 999, 100_000])
@pytest.mark.parametrize("users", [1, 2, 3, 12, 299, 10_000])
def test_as_many_runs_are_asked_for_as_were_wanted(flows: int, users: int) -> None:
    people = make_people(Size(flows, users), LIMITS)
    asks = make_asks(people)
    assert len(people) == users
    assert len(asks) == flows
    assert [ask.number for ask in asks] == list(range(flows))
    assert all(ask.kind in ask.person.kinds for ask in asks)


def test_a_tier_without_an_hourly_limit_has_all_its_runs_accepted() -> None:
    limits: dict[str, int | None] = {"free": None, "pro": None, "enterprise": None}
    assert expected_runs(make_people(Size(500, 30), limits), limits) == 500


@pytest.mark.parametrize(("runs", "expected"), [(1, 1), (50, 1), (960, 20), (100_000, 2000)])
def test_two_in_a_hundred_runs_meet_a_fault(runs: int, expected: int) -> None:
    assert len(faults.plan(runs, INSTANCES)) == expected


def test_faults_fall_on_all_instances_and_never_two_on_one_call() -> None:
    places = Counter(
        (fault["instance"], fault["schedule"]["calls"][0]) for fault in faults.plan(960, INSTANCES)
    )
    assert {instance for instance, _ in places} == set(INSTANCES)
    assert max(places.values()) == 1
    # Each instance gets about 192 calls: the last ones are spared.
    assert max(call for _, call in places) < 130
