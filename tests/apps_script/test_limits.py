"""Google's limits: slots, daily quotas, sizes of values, stores and results."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.apps_script.simulator import Json, Simulator, new_id, send_step, step


def test_the_thirty_first_call_of_an_owner_gets_the_concurrency_page(
    simulator: Simulator,
) -> None:
    simulator.inject("slow", ms=1500)
    bodies = [simulator.run_body(step("t", "transform", template=i)) for i in range(31)]
    instances = ["local-1", "local-2"]  # two projects of one owner share its slots

    def first_hop(number: int) -> Any:
        instance = instances[number % 2]
        return simulator.first_hop(simulator.envelope(bodies[number], instance).signed(), instance)

    with ThreadPoolExecutor(31) as pool:
        answers = list(pool.map(first_hop, range(31)))
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200] + [302] * 30
    page = next(answer for answer in answers if answer.status_code == 200)
    assert "too many scripts running simultaneously" in page.text
    assert simulator.summary()["in_flight_max"]["owner"] == {"owner-a@example.com": 30}


def quota_error(answer: Json) -> tuple[str, str, str]:
    error = answer["error"]
    return error["kind"], error["code"], error["service"]


def test_the_hundredth_recipient_of_a_day_is_the_last(simulator: Simulator) -> None:
    many = ",".join(["x@example.com"] * 49)
    for name in ("a", "b"):
        simulator.run(step(name, "gmail.send", to=many, subject=name, body="b"))
    too_many = simulator.run(
        step(
            "it",
            "gmail.send",
            to="a@example.com",
            cc="b@example.com,c@example.com",
            subject="s",
            body="",
        )
    )
    assert quota_error(too_many) == ("quota", "DAILY_QUOTA", "email")
    assert too_many["error"]["ran"] == "none"
    two = simulator.run(
        step("it", "gmail.send", to="a@example.com,b@example.com", subject="s", body="")
    )
    assert two["ok"] is True


def test_quotas_come_back_a_day_after_the_first_use(simulator: Simulator) -> None:
    many = ",".join(["x@example.com"] * 50)
    for subject in ("a", "b"):
        simulator.run(step("it", "gmail.send", to=many, subject=subject, body="b"))
    assert quota_error(simulator.run(send_step()))[0] == "quota"
    simulator.advance(23 * 3600)
    assert quota_error(simulator.run(send_step()))[0] == "quota"
    simulator.advance(3600)
    assert simulator.run(send_step())["ok"] is True


def test_an_execution_stopped_by_a_quota_goes_on_the_next_day(simulator: Simulator) -> None:
    many = ",".join(["x@example.com"] * 50)
    body = simulator.run_body(
        *(step(name, "gmail.send", to=many, subject=name, body="b") for name in ("a", "b", "c"))
    )
    stopped = simulator.call(body)["error"]
    assert (stopped["kind"], stopped["step"], stopped["ran"]) == ("quota", "c", "partial")
    simulator.advance(24 * 3600 + 1)
    assert simulator.call(body)["status"] == "done"
    assert [row["step"] for row in simulator.effects()] == ["a", "b", "c"]


def test_quotas_are_the_owners_not_the_instances(simulator: Simulator) -> None:
    simulator.run(send_step())
    assert simulator.call({"op": "ping"}, "local-2")["result"]["mailRemaining"] == 99
    assert simulator.call({"op": "ping"}, "local-3")["result"]["mailRemaining"] == 1500


def test_the_script_counts_what_the_account_is_charged(simulator: Simulator) -> None:
    find = step("find", "gmail.search", query="has:attachment", max=5)
    label = step("tag", "gmail.label", threads="{{find.threads}}", label="Counted")
    save = step("save", "drive.save_attachments", threads="{{find.threads}}", folder="f")
    archive = step("gone", "gmail.archive", threads="{{find.threads}}")
    usage = simulator.run(find, label, save, archive, send_step())["usage"]
    owner = simulator.control("GET", "owners")[0]
    assert (usage["mail"], usage["gmail"]) == (owner["mail_used"], owner["gmail_used"])


def test_results_above_ninety_kilobytes_are_the_users_error(simulator: Simulator) -> None:
    fits = simulator.run(step("it", "transform", template="x" * 92_000))
    assert fits["ok"] is True
    large = simulator.run(step("it", "transform", template="x" * 92_200), send_step())
    assert (large["error"]["kind"], large["error"]["code"]) == ("user", "RESULT_TOO_LARGE")
    assert large["error"]["step"] == "it"
    assert simulator.effects() == []


def test_the_property_store_makes_room_for_new_executions(simulator: Simulator) -> None:
    """Twelve results of 80 KB are twice the store; each run must still be accepted."""
    ids = [new_id() for _ in range(12)]
    for execution_id in ids:
        answer = simulator.run(
            step("it", "transform", template="x" * 80_000), execution_id=execution_id
        )
        assert answer["ok"] is True, answer
    simulator.advance(3600, scripts=True)
    newest = simulator.result(ids[-1])
    assert len(newest["result"]["it"]["output"]) == 80_000
    oldest = simulator.result(ids[0])
    assert (oldest["status"], oldest["result"], oldest["replayed"]) == ("done", None, True)


def test_an_execution_whose_result_was_forgotten_is_still_not_done_again(
    simulator: Simulator,
) -> None:
    sent = simulator.run_body(send_step())
    simulator.call(sent)
    for _ in range(8):
        simulator.run(step("it", "transform", template="x" * 80_000))
    simulator.advance(250, scripts=True)
    simulator.advance(290, scripts=True)
    again = simulator.call(sent)
    assert (again["status"], again["replayed"], again["result"]) == ("done", True, None)
    assert len(simulator.effects()) == 1


def test_failed_executions_cannot_fill_the_store(simulator: Simulator) -> None:
    simulator.control("POST", "settings", {"quotas": False})
    broken = step("it", "transform", template="{{find.nothing}}")
    large = step("find", "transform", template="x" * 30_000)
    for _ in range(40):
        assert simulator.run(large, broken)["error"]["code"] == "UNKNOWN_PATH"
    assert simulator.run(send_step())["ok"] is True


def test_what_had_effects_is_remembered_before_what_had_none(simulator: Simulator) -> None:
    broken = step("it", "transform", template="{{find.nothing}}")
    stopped = simulator.run_body(send_step(), broken)
    simulator.call(stopped)
    for _ in range(20):
        simulator.run(step("find", "transform", template="x" * 30_000), broken)
    assert simulator.call(stopped)["error"]["step"] == "it"
    assert len(simulator.effects()) == 1


@pytest.mark.parametrize("cold", [False, True])
def test_latency_is_waited_for_at_its_scale(simulator: Simulator, cold: bool) -> None:
    """Scaled to a thousandth, so that only the path is tried and nothing is timed."""
    simulator.control(
        "POST", "settings", {"time_scale": 0.001, "latency": {"cold_after_ms": 0 if cold else 1e9}}
    )
    assert simulator.run(send_step())["ok"] is True
    assert simulator.summary()["in_flight"] == 0


def test_the_script_lock_times_out_in_its_own_words(simulator: Simulator) -> None:
    simulator.inject("lock", count=1)
    body = simulator.run_body(send_step())
    error = simulator.call(body)["error"]
    assert (error["kind"], error["ran"], error["retryable"]) == ("lock", "none", True)
    assert simulator.call(body)["ok"] is True
