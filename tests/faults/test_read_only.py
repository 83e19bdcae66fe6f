"""A database that takes no writes for a while: no wrong success, nothing lost, and it recovers."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from flowstate_local.runner import cluster_home
from tests.faults.waiting import until
from tests.faults.world import EFFECTS, World


@pytest.fixture
def standby(world: World) -> Iterator[World]:
    """A world whose database a test makes a standby; promoted at the end at the latest."""
    yield world
    promote(world)


def fail_over_to_a_standby(world: World) -> None:
    """The server comes back as one that only replays, until it is promoted."""
    stack = world.stack
    stack.kill("postgres")
    (cluster_home(stack.directory) / "data" / "standby.signal").touch()
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        stack.start("postgres")  # it runs; what cannot be done is the housekeeping after a start


def promote(world: World) -> None:
    world.reconnect()
    if world.queue.value("select pg_is_in_recovery()"):
        world.as_superuser("select pg_promote()")


def test_an_outcome_waits_for_a_standby_to_take_over(standby: World) -> None:
    world = standby
    world.simulator.inject("slow", variant="effect", ms=1500, ops=["run"])
    [execution] = world.enqueue(world.user())
    worker = world.worker(lease_seconds="60", api_timeout_seconds="5").wait_ready()
    world.wait_effects(EFFECTS)
    fail_over_to_a_standby(world)
    until(
        lambda: [e for e in worker.events("finish_failed") if "0A000" in e["error"]],
        "the outcome is refused by the standby",
        told=worker.told,
    )
    promote(world)

    [log] = world.wait_ended(execution)
    assert (log["outcome"], log["attempt"]) == ("succeeded", 1)
    world.check()


def test_under_load_nothing_is_accepted_by_a_standby_and_nothing_is_lost(standby: World) -> None:
    world = standby
    worker = world.worker().wait_ready()
    with world.load(users=2) as load:
        load.wait_accepted(20)
        fail_over_to_a_standby(world)
        worker.wait_logged("claim_failed", 3)
        promote(world)
        load.wait_accepted(20)
    world.check()
    assert worker.runs


def test_a_default_of_read_only_stops_nothing(world: World) -> None:
    """Hosted projects get it when their disk is full. PostgREST asks for what a call needs."""
    worker = world.worker().wait_ready()
    load = world.load(users=1)
    try:
        world.as_superuser("alter system set default_transaction_read_only = on")
        world.as_superuser("select pg_reload_conf()")
        until(lambda: read_only(world), "new transactions are read-only")
        with load:
            load.wait_accepted(8)
    finally:
        world.as_superuser(
            "set default_transaction_read_only = off",
            "alter system reset default_transaction_read_only",
            "select pg_reload_conf()",
        )
    world.check()
    assert worker.runs


def read_only(world: World) -> bool:
    return bool(world.queue.value("show default_transaction_read_only") == "on")
