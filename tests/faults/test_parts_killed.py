"""Parts of the backend die under load and come back: what was accepted is done, once."""

from __future__ import annotations

from contextlib import closing

import psycopg
import pytest

from tests.faults.waiting import until
from tests.faults.world import EFFECTS, World


@pytest.mark.parametrize("part", ["postgres", "postgrest", "gateway"])
def test_nothing_accepted_is_lost_or_done_twice_when_a_part_dies_under_load(
    world: World, part: str
) -> None:
    # Some calls are under way at any moment.
    world.simulator.inject("slow", variant="effect", ms=400, probability=0.3, ops=["run"])
    workers = [world.worker().wait_ready() for _ in range(2)]
    with world.load(users=3) as load:
        for _ in range(2):
            load.wait_accepted(40)
            world.wait_more_effects(40)
            world.stack.kill(part)
            world.start(part)
        load.wait_accepted(40)
    world.check()
    assert [worker.runs for worker in workers] == [True, True]


def test_an_outcome_is_kept_when_the_database_dies_while_it_is_stored(world: World) -> None:
    world.simulator.inject("slow", variant="effect", ms=500, ops=["run"])
    user = world.user()
    [execution] = world.enqueue(user)
    worker = world.worker(lease_seconds="30", api_timeout_seconds="10").wait_ready()
    world.wait_effects(EFFECTS)
    with closing(psycopg.connect(world.stack.info.db_url)) as blocking:
        blocking.execute("select from private.user_queue where user_id = %s for update", [user.id])
        until(lambda: waits_for_a_row(world, "finish_flow_executions"), "the outcome is on its way")
        world.stack.kill("postgres")
    world.start("postgres")

    [log] = world.wait_ended(execution)
    assert (log["outcome"], log["attempt"]) == ("succeeded", 1)
    assert worker.events("finish_failed")
    world.check()


def test_a_claim_whose_backend_is_killed_leaves_no_trace(world: World) -> None:
    worker = world.worker(
        processor_id="w1", lease_seconds="30", api_timeout_seconds="15"
    ).wait_ready()
    with closing(psycopg.connect(world.stack.info.db_url)) as blocking:
        # The claim's last step waits for this row, with its executions already marked as running.
        blocking.execute("delete from public.queue_processors where id = 'w1'")
        [execution] = world.enqueue(world.user())
        pid = until(
            lambda: waits_for_a_row(world, "claim_flow_executions"),
            "the claim waits in its last step",
        )
        world.as_superuser(f"select pg_terminate_backend({pid})")
        worker.wait_logged("claim_failed")
        row = world.queue.live(execution)
        assert row is not None
        assert (row["state"], row["attempt"], row["lease_token"]) == ("available", 0, None)
        assert world.queue.counters_are_true()
        blocking.rollback()

    [log] = world.wait_ended(execution)
    assert (log["outcome"], log["attempt"]) == ("succeeded", 1)
    world.check()


def waits_for_a_row(world: World, function: str) -> int | None:
    """The backend that calls the function and waits for somebody's row."""
    found = world.queue.value(
        "select pid from pg_stat_activity where query like %s"
        " and wait_event_type = 'Lock' and pid <> pg_backend_pid() limit 1",
        f"%{function}%",
    )
    return None if found is None else int(found)
