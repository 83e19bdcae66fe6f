"""SIGTERM: a worker claims no more, finishes what runs, and says so with its exit code."""

from __future__ import annotations

from tests.faults.world import EFFECTS, World


def test_a_told_worker_finishes_what_runs_and_claims_no_more(world: World) -> None:
    world.simulator.inject("slow", variant="effect", ms=1500, ops=["run"], count=1)
    [running] = world.enqueue(world.user())
    worker = world.worker().wait_ready()
    world.wait_effects(EFFECTS)
    worker.terminate()
    worker.wait_logged("draining")
    [waiting] = world.enqueue(world.user())
    for _ in range(4):
        worker.terminate()

    assert worker.ended() == 0
    assert len(worker.events("draining")) == 1
    assert [log["outcome"] for log in world.queue.logs(running)] == ["succeeded"]
    assert world.state(waiting) == "available"
    assert world.queue.counters_are_true()
    world.worker()
    world.check()


def test_a_worker_without_work_ends_at_once(world: World) -> None:
    worker = world.worker().wait_ready()
    worker.terminate()
    assert worker.ended() == 0
    assert [event["event"] for event in worker.events() if event["level"] != "info"] == []


def test_a_worker_told_while_the_api_is_away_gives_up_its_start(world: World) -> None:
    world.stack.stop("gateway")
    worker = world.worker()
    worker.wait_logged("status_server")
    worker.terminate()
    assert worker.ended() == 0


def test_after_the_grace_period_a_call_is_left_to_the_next_worker_which_asks_for_its_result(
    world: World,
) -> None:
    """The script may run on. So the attempt is given back, but bound to the instance."""
    world.simulator.inject("slow", variant="effect", ms=4000, ops=["run"], count=1)
    [execution] = world.enqueue(world.user())
    first = world.worker(grace_seconds="0.2").wait_ready()
    world.wait_effects(EFFECTS)
    first.terminate()
    assert first.ended() == 0
    assert first.events("grace_over")

    row = world.queue.live(execution)
    assert row is not None
    assert (row["state"], row["attempt"], row["last_error"]["category"]) == (
        "scheduled",
        0,
        "drained",
    )
    assert row["pinned_instance_id"] is not None
    second = world.worker()
    *_, last = world.wait_ended(execution)
    assert (last["outcome"], last["attempt"]) == ("succeeded", 1)
    assert world.simulator.runs_of(execution) == 1
    assert second.runs
    world.check()


def test_what_was_not_sent_when_the_grace_period_ends_is_released(world: World) -> None:
    """A worker that only asks for an earlier attempt's result has begun nothing."""
    world.simulator.inject("slow", variant="effect", ms=5000, ops=["run"], count=1)
    [execution] = world.enqueue(world.user())
    killed = world.worker().wait_ready()
    world.wait_effects(EFFECTS)
    killed.kill()
    asking = world.worker(grace_seconds="0").wait_ready()
    asking.wait_logged("claimed")
    asking.terminate()
    assert asking.ended() == 0

    [rescue] = world.queue.logs(execution)
    assert rescue["category"] == "lease_expired"
    row = world.queue.live(execution)
    assert row is not None
    assert (row["state"], row["attempt"]) == ("available", 1)
    assert row["pinned_instance_id"] == rescue["instance_id"]
    world.worker()
    assert world.wait_ended(execution)[-1]["attempt"] == 2
    world.check()
