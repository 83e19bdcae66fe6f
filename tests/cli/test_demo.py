"""`flowstate demo` from beginning to end, cut short, and deceived."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from flowstate_local import processes

from .conftest import FlowState, until
from .demo_run import DemoRun

Start = Callable[..., DemoRun]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[DemoRun] = []

    def begin(size: tuple[int, int], *, json_output: bool = False) -> DemoRun:
        started.append(DemoRun(tmp_path, size=size, json_output=json_output))
        return started[-1]

    yield begin
    for demo in started:
        if demo.process.poll() is None:
            demo.process.terminate()
        demo.process.communicate()


def test_the_demo_loses_nothing_and_does_nothing_twice(start: Start) -> None:
    demo = start((40, 12))
    code, out, err = demo.end()
    assert code == 0, err
    figures = demo.figures
    assert figures["accepted"] + figures["refused"] == figures["flows"] == 40
    assert figures["users"] == 12
    assert figures["refused"] > 0
    assert figures["succeeded"] == figures["accepted"]
    assert figures["faults_injected"] > 0
    for name in ("failed", "dead", "lost", "duplicate_effects", "enqueued_in_bulk"):
        assert figures[name] == 0, name
    for name in ("wait_p50_seconds", "wait_p95_seconds", "executions_per_second"):
        assert figures[name] > 0, name
    assert sum(tier["accepted"] for tier in figures["tiers"].values()) == figures["accepted"]
    assert sum(one["succeeded"] for one in figures["instances"].values()) == figures["succeeded"]
    assert len(figures["instances"]) == 5
    assert max(figures["owners_max_in_flight"].values()) <= 28
    for shown in ("enterprise", "local-5", "gmail.search"):
        assert shown in out
    assert "Nothing was lost, nothing was done twice." in err
    assert demo.left_behind == []


def test_with_json_stdout_holds_the_figures_and_nothing_else(start: Start) -> None:
    demo = start((5, 3), json_output=True)
    code, out, err = demo.end()
    assert (code, err) == (0, "")
    assert json.loads(out) == demo.figures


def test_a_run_that_vanishes_behind_its_back_is_called_lost(start: Start) -> None:
    demo = start((40, 12))
    stack = demo.stack()

    def swallow_one() -> bool:
        """The first row that reaches the queue is thrown away, though it was accepted."""
        try:
            with psycopg.connect(stack.info.admin_db_url) as connection:
                connection.execute("""
                    create sequence private.seen;
                    create function private.swallow() returns trigger language plpgsql
                        as 'begin return null; end';
                    create trigger swallow before insert on public.flow_execution_queue
                        for each row when (nextval('private.seen') = 1)
                        execute function private.swallow();
                    grant usage on sequence private.seen to public;
                """)
        except psycopg.Error:  # not there yet
            assert demo.process.poll() is None, demo.end()
            return False
        return True

    until(swallow_one, "the queue's table exists")
    code, _, err = demo.end()
    assert code == 1, err
    assert demo.figures["lost"] == 1
    assert demo.figures["succeeded"] == demo.figures["accepted"] - 1
    assert "1 accepted execution was lost" in err
    assert demo.left_behind == ["demo-logs"]


def test_a_worker_that_ends_fails_the_demo_at_once(start: Start) -> None:
    demo = start((200, 12))
    processes.send(_identified(demo.worker_pid()), signal.SIGKILL)
    code, _, err = demo.end()
    assert code == 1
    assert "The worker was killed by signal 9." in err
    assert demo.left_behind == ["demo-logs"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_when_the_demo_is_cut_short(start: Start, number: signal.Signals) -> None:
    demo = start((1000, 12))
    worker = _identified(demo.worker_pid())
    parts = [_identified(pid) for pid in demo.stack().info.pids.values()]
    demo.process.send_signal(number)
    demo.process.wait(timeout=60)
    until(lambda: not any(map(processes.is_running, [worker, *parts])), "all processes ended")
    until(lambda: not demo.left_behind, "its folders are gone")


@pytest.mark.parametrize(
    ("name", "value", "most"),
    [
        ("DEMO_FLOWS", "many", 100_000),
        ("DEMO_FLOWS", "0", 100_000),
        ("DEMO_FLOWS", "1.5", 100_000),
        ("DEMO_FLOWS", "100001", 100_000),
        ("DEMO_FLOWS", "٣", 100_000),
        ("DEMO_USERS", "-1", 10_000),
        ("DEMO_USERS", "10001", 10_000),
        ("DEMO_USERS", "9" * 5000, 10_000),
    ],
)
def test_a_size_that_makes_no_sense_is_refused(name: str, value: str, most: int) -> None:
    result = FlowState({name: value})("demo")
    assert result.exit_code == 2
    assert f"{name} must be a whole number from 1 to {most}, not '" in result.stderr


def _identified(pid: int) -> processes.ProcessId:
    process = processes.identify(pid)
    assert process
    return process
