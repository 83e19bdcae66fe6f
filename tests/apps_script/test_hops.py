"""The two hops, and the odd ways in which the two origins answer whoever does them wrong."""

import signal
from pathlib import Path

import pytest

from tests.apps_script.simulator import Simulator, deployment, send_step


def test_the_first_hop_redirects_to_the_echo_address(simulator: Simulator) -> None:
    hop = simulator.first_hop(simulator.envelope({"op": "ping"}).signed())
    assert hop.status_code == 302
    assert hop.headers["location"].startswith(f"{simulator.echo_url}/macros/echo?user_content_key=")


def test_an_answer_is_read_once(simulator: Simulator) -> None:
    location = simulator.first_hop(simulator.envelope({"op": "ping"}).signed()).headers["location"]
    first = simulator.http.get(location)
    assert first.headers["content-type"].startswith("application/json")
    second = simulator.http.get(location)
    assert second.status_code == 404
    assert "<html" in second.text


def test_an_answer_can_be_read_for_a_minute_if_asked_so(simulator: Simulator) -> None:
    simulator.control("POST", "settings", {"echo_reads": "60s"})
    location = simulator.first_hop(simulator.envelope({"op": "ping"}).signed()).headers["location"]
    assert [simulator.http.get(location).status_code for _ in range(3)] == [200, 200, 200]


def test_the_echo_address_takes_get_alone(simulator: Simulator) -> None:
    location = simulator.first_hop(simulator.envelope({"op": "ping"}).signed()).headers["location"]
    assert simulator.http.post(location, content="x").status_code == 405
    assert simulator.http.head(location).status_code == 403
    assert simulator.http.get(location).status_code == 200


def test_a_post_without_length_to_the_echo_address_is_411(simulator: Simulator) -> None:
    request = simulator.http.build_request("POST", f"{simulator.echo_url}/macros/echo")
    del request.headers["content-length"]
    assert simulator.http.send(request).status_code == 411


def test_head_of_a_web_app_is_forbidden(simulator: Simulator) -> None:
    assert simulator.http.head(simulator.url()).status_code == 403


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods_are_not_allowed(simulator: Simulator, method: str) -> None:
    assert simulator.http.request(method, simulator.url()).status_code == 405


@pytest.mark.parametrize("name", ["c", "sid"])
def test_two_query_names_are_not_allowed(simulator: Simulator, name: str) -> None:
    assert simulator.http.get(simulator.url(), params={name: "1"}).status_code == 405


def test_an_unknown_deployment_is_a_page_of_drive(simulator: Simulator) -> None:
    answer = simulator.http.post(simulator.url("nobody"), content="{}")
    assert answer.status_code == 404
    assert "Google Drive" in answer.text


def test_a_path_behind_exec_forces_a_login(simulator: Simulator) -> None:
    answer = simulator.http.get(f"{simulator.url()}/more")
    assert answer.status_code == 302
    assert answer.headers["location"].startswith("https://accounts.google.com/")


def test_a_script_sees_no_header_and_sets_no_status(simulator: Simulator) -> None:
    envelope = simulator.envelope({"op": "ping"}).signed()
    hop = simulator.http.post(simulator.url(), json=envelope, headers={"authorization": "Bearer x"})
    answer = simulator.http.get(hop.headers["location"])
    assert answer.status_code == 200
    assert "Bearer" not in answer.text


def test_calls_in_flight_are_counted_by_owner_and_instance(simulator: Simulator) -> None:
    simulator.run(send_step())
    summary = simulator.summary()
    assert summary["in_flight"] == 0
    assert summary["in_flight_max"]["instance"] == {"local-1": 1}
    assert summary["calls_by_instance"] == {"local-1": 1}


def test_the_process_ends_on_sigterm(tmp_path: Path) -> None:
    with Simulator(tmp_path) as own:
        assert own.http.get(f"{own.exec_url}/_sim/health").json() == {"status": "ok"}
        own.process.send_signal(signal.SIGTERM)
        assert own.process.wait(timeout=2) == 0


def test_an_instance_can_be_added_at_run_time(simulator: Simulator) -> None:
    added = {"deployment_id": deployment("late"), "name": "late", "owner": "x@example.com"}
    simulator.control("POST", "instances", {**added, "keys": {"k1": "first-secret-ü"}})
    assert simulator.call({"op": "ping"}, "late")["ok"] is True
