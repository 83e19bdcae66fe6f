"""A flow is done once: replays, deaths in every place, runs that overlap."""

import threading
import time
from collections.abc import Callable

import httpx
import pytest

from tests.apps_script.simulator import Json, Simulator, new_id, send_step, step

SEARCH = step("find", "gmail.search", query="from:amy", max=2)
TWO_MAILS = (send_step("one", "first"), send_step("two", "second"))


def lost(simulator: Simulator, body: Json) -> None:
    """A call whose connection breaks before the redirect comes."""
    with pytest.raises(httpx.RemoteProtocolError):
        simulator.first_hop(simulator.envelope(body).signed())


def kinds(effects: list[Json]) -> list[tuple[str, str]]:
    return [(row["step"], row["kind"]) for row in effects]


def test_the_same_id_twice_has_one_effect_and_one_answer(simulator: Simulator) -> None:
    execution_id = new_id()
    first = simulator.run(send_step(), execution_id=execution_id)
    second = simulator.run(send_step(), execution_id=execution_id)
    assert first["replayed"] is False
    assert second == {**first, "replayed": True}
    assert len(simulator.effects(execution_id)) == 1


def test_a_replay_outlives_the_cache(simulator: Simulator) -> None:
    execution_id = new_id()
    first = simulator.run(SEARCH, send_step(), execution_id=execution_id)
    simulator.advance(7200, scripts=True)
    second = simulator.run(SEARCH, send_step(), execution_id=execution_id)
    assert second["replayed"] is True
    assert second["result"] == first["result"]
    assert second["usage"] == first["usage"]
    assert len(simulator.effects(execution_id)) == 1


def test_a_result_too_large_for_the_cache_is_put_together_from_chunks(
    simulator: Simulator,
) -> None:
    text = "ü✓" * 6000
    steps = (step("big", "transform", template=text), step("small", "transform", template=1))
    execution_id = new_id()
    first = simulator.run(*steps, execution_id=execution_id)
    assert first["result"]["big"]["output"] == text
    simulator.advance(7200, scripts=True)
    assert simulator.result(execution_id)["result"] == first["result"]


def test_a_lost_answer_is_found_by_its_id(simulator: Simulator) -> None:
    body = simulator.run_body(send_step())
    simulator.inject("first_hop_lost", count=1)
    lost(simulator, body)
    answer = simulator.result(body["executionId"])
    assert answer["status"] == "done"
    assert answer["replayed"] is True
    assert answer["result"] == {"mail": {"sent": 1, "to": "bob@example.com"}}
    assert simulator.summary()["duplicate_effects"] == 0


def test_a_run_killed_inside_a_send_needs_review_and_never_sends_again(
    simulator: Simulator,
) -> None:
    body = simulator.run_body(send_step())
    execution_id = body["executionId"]
    simulator.inject("killed_mid_effect", count=1)
    lost(simulator, body)
    assert simulator.call(body)["status"] == "in_progress"
    simulator.advance(340, scripts=True)
    for answer in (simulator.call(body), simulator.result(execution_id), simulator.call(body)):
        assert answer["error"]["code"] == "NEEDS_REVIEW"
        assert answer["error"]["step"] == "mail"
        assert answer["error"]["ran"] == "partial"
        assert answer["error"]["retryable"] is False
    assert len(simulator.effects(execution_id)) == 1


def test_a_run_killed_before_its_marker_is_resumed(simulator: Simulator) -> None:
    body = simulator.run_body(SEARCH, send_step())
    simulator.inject("killed_before_marker", count=1)
    lost(simulator, body)
    assert simulator.effects() == []
    simulator.advance(340, scripts=True)
    answer = simulator.call(body)
    assert answer["status"] == "done"
    assert answer["replayed"] is False
    assert kinds(simulator.effects()) == [("mail", "gmail.send")]


def test_a_dead_run_says_what_it_did_when_asked(simulator: Simulator) -> None:
    body = simulator.run_body(send_step())
    simulator.inject("killed_before_marker", count=1)
    lost(simulator, body)
    assert simulator.result(body["executionId"])["status"] == "in_progress"
    simulator.advance(340, scripts=True)
    error = simulator.result(body["executionId"])["error"]
    assert (error["code"], error["ran"], error["retryable"]) == ("RUN_DIED", "none", True)


def test_a_run_killed_between_steps_repeats_none_of_them(simulator: Simulator) -> None:
    body = simulator.run_body(*TWO_MAILS, deadlineMs=3400)
    simulator.inject("slow", variant="effect", ms=1500, count=1)
    stopped = simulator.call(body)
    assert stopped["error"]["code"] == "OUT_OF_TIME"
    assert stopped["error"]["kind"] == "timeout"
    assert stopped["error"]["step"] == "two"
    assert stopped["error"]["ran"] == "partial"
    resumed = simulator.call(body)
    assert resumed["status"] == "done"
    assert set(resumed["result"]) == {"one", "two"}
    assert resumed["usage"]["mail"] == 2
    assert kinds(simulator.effects()) == [("one", "gmail.send"), ("two", "gmail.send")]


def test_a_run_killed_behind_a_finished_step_is_resumed_behind_it(simulator: Simulator) -> None:
    """Writes behind the claim: marker of one, end of one, marker of two. The third never comes."""
    body = simulator.run_body(*TWO_MAILS)
    simulator.inject("killed_before_marker", nth=3, count=1)
    lost(simulator, body)
    assert kinds(simulator.effects()) == [("one", "gmail.send")]
    simulator.advance(340, scripts=True)
    assert simulator.call(body)["status"] == "done"
    assert kinds(simulator.effects()) == [("one", "gmail.send"), ("two", "gmail.send")]


def test_a_clear_refusal_in_the_middle_of_a_step_needs_review(simulator: Simulator) -> None:
    """Open, append, append: the second row is refused when the first one is in the sheet."""
    rows = step("rows", "sheets.append_rows", spreadsheet="sample-spreadsheet", rows=[[1], [2]])
    body = simulator.run_body(rows)
    simulator.inject("rate_service", nth=3, count=1)
    assert simulator.call(body)["error"]["code"] == "NEEDS_REVIEW"
    assert simulator.call(body)["error"]["code"] == "NEEDS_REVIEW"
    assert len(simulator.effects()) == 1


def test_without_time_no_step_begins(simulator: Simulator) -> None:
    answer = simulator.run(send_step(), deadlineMs=500)
    assert answer["error"]["code"] == "OUT_OF_TIME"
    assert answer["error"]["ran"] == "none"
    assert simulator.effects() == []


def test_a_label_cut_short_is_finished_by_the_next_run(simulator: Simulator) -> None:
    label = step("tag", "gmail.label", threads="{{find.threads}}", label="Seen")
    body = simulator.run_body(SEARCH, label)
    simulator.inject("killed_mid_effect", count=1)
    lost(simulator, body)
    simulator.advance(340, scripts=True)
    assert simulator.call(body)["result"]["tag"] == {"label": "Seen", "changed": 2}
    assert len(simulator.effects()) == 2
    assert simulator.summary()["duplicate_effects"] == 0


def test_an_unclear_failure_of_a_send_needs_review_at_once(simulator: Simulator) -> None:
    simulator.inject("transient", count=1)
    answer = simulator.run(send_step())
    assert answer["error"]["code"] == "NEEDS_REVIEW"
    assert answer["error"]["retryable"] is False


def test_an_unclear_failure_of_a_search_may_be_tried_again(simulator: Simulator) -> None:
    simulator.inject("transient", count=1)
    body = simulator.run_body(SEARCH, send_step())
    error = simulator.call(body)["error"]
    assert (error["kind"], error["ran"], error["retryable"]) == ("transient", "none", True)
    assert simulator.call(body)["status"] == "done"


def test_a_clear_refusal_of_a_send_may_be_tried_again(simulator: Simulator) -> None:
    simulator.inject("rate_service", count=1)
    body = simulator.run_body(send_step())
    error = simulator.call(body)["error"]
    assert (error["kind"], error["ran"], error["retryable"]) == ("rate", "none", True)
    assert simulator.call(body)["status"] == "done"
    assert len(simulator.effects()) == 1


def in_the_middle(simulator: Simulator, body: Json, look: Callable[[], Json]) -> tuple[Json, Json]:
    """What a look gives while a slow run is under way, and the run's own answer."""
    answers: list[Json] = []
    envelope = simulator.envelope(body).signed()
    slow = threading.Thread(target=lambda: answers.append(simulator.exchange(envelope)))
    slow.start()
    give_up_at = time.monotonic() + 10
    while simulator.summary()["in_flight"] == 0:
        assert time.monotonic() < give_up_at, "the slow call never arrived"
    seen = look()
    slow.join()
    return seen, answers[0]


def test_a_result_asked_in_the_middle_is_in_progress(simulator: Simulator) -> None:
    body = simulator.run_body(send_step())
    simulator.inject("slow", ms=1500, ops=["run"], count=1)
    seen, answer = in_the_middle(simulator, body, lambda: simulator.result(body["executionId"]))
    assert seen["ok"] is True
    assert seen["status"] == "in_progress"
    assert answer["status"] == "done"
    assert simulator.result(body["executionId"])["status"] == "done"


def test_a_second_run_in_the_middle_does_nothing(simulator: Simulator) -> None:
    body = simulator.run_body(send_step())
    simulator.inject("slow", ms=1500, ops=["run"], count=1)
    seen, answer = in_the_middle(simulator, body, lambda: simulator.call(body))
    assert seen["status"] == "in_progress"
    assert answer["status"] == "done"
    assert len(simulator.effects()) == 1


def test_the_ledger_would_show_a_repeated_effect(simulator: Simulator) -> None:
    """The oracle itself: two instances know nothing of each other, so this does send twice."""
    body = simulator.run_body(send_step())
    simulator.call(body, "local-1")
    simulator.call(body, "local-2")
    assert simulator.summary()["duplicate_effects"] == 1
    assert [row["duplicate"] for row in simulator.effects()] == [False, True]
