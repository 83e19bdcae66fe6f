"""Every fault that can be injected looks as the classification table says."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.apps_script.simulator import Json, Simulator, send_step

Check = Callable[[httpx.Response], bool]


def page(text: str, status: int = 200) -> Check:
    return lambda r: r.status_code == status and "<html" in r.text and text in r.text


def status(code: int) -> Check:
    return lambda r: r.status_code == code


def redirect(prefix: str) -> Check:
    return lambda r: r.status_code == 302 and r.headers["location"].startswith(prefix)


# category, variant, what the first hop shows, whether the script ran
FIRST_HOP: list[tuple[str, str | None, Check, bool]] = [
    ("odd_redirect", None, redirect("https://script.google.com/"), True),
    ("odd_redirect", "not_run", redirect("https://script.google.com/"), False),
    ("login", None, redirect("https://accounts.google.com/"), False),
    ("login", "page", page("Meet Google Drive"), False),
    ("http_auth", None, status(401), False),
    ("http_auth", "403", page("Access Denied", 403), False),
    ("needs_auth", None, page("Authorization needed"), False),
    ("deployment_missing", None, page("Google Drive", 404), False),
    ("function_missing", None, page("Script function not found: doPost"), False),
    ("no_return", None, page("did not return anything"), True),
    ("concurrency", None, page("too many scripts running simultaneously"), False),
    ("execution_timeout", None, page("Exceeded maximum execution time"), False),
    ("execution_timeout", "mid_effect", page("Exceeded maximum execution time"), True),
    ("transient", "page", page("a server error occurred"), False),
    ("script_error", None, page("TypeError:"), False),
    ("script_error", "ran", page("TypeError:"), True),
    ("http_429", None, status(429), False),
    ("http_5xx", None, status(503), False),
    ("http_5xx", "ran", status(503), True),
    ("client_bug", None, status(400), False),
]


@pytest.mark.parametrize(("category", "variant", "check", "ran"), FIRST_HOP)
def test_a_fault_of_the_first_hop_looks_as_documented(
    simulator: Simulator, category: str, variant: str | None, check: Check, ran: bool
) -> None:
    simulator.inject(category, count=1, **({"variant": variant} if variant else {}))
    body = simulator.run_body(send_step())
    answer = simulator.first_hop(simulator.envelope(body).signed())
    assert check(answer), f"{answer.status_code} {answer.headers} {answer.text}"
    assert len(simulator.effects()) == int(ran)


# category, variant, kind and code of the envelope's error
IN_SCRIPT = [
    ("needs_auth", "exception", "auth", "NOT_AUTHORIZED"),
    ("concurrency", "exception", "rate", "TOO_MANY_AT_ONCE"),
    ("rate_service", None, "rate", "TOO_FAST"),
    ("daily_quota", None, "quota", "DAILY_QUOTA"),
    ("lock", None, "lock", "LOCK_TIMEOUT"),
    ("flow_error", None, "user", "LIMIT_EXCEEDED"),
]


@pytest.mark.parametrize(("category", "variant", "kind", "code"), IN_SCRIPT)
@pytest.mark.parametrize("flow", ["with services", "without"])
def test_an_exception_inside_the_script_comes_in_an_envelope(
    simulator: Simulator, category: str, variant: str | None, kind: str, code: str, flow: str
) -> None:
    simulator.inject(category, count=1, **({"variant": variant} if variant else {}))
    quiet = {"name": "it", "type": "transform", "args": {"template": 1}}
    answer = simulator.run(send_step() if flow == "with services" else quiet)
    error = answer["error"]
    assert (error["kind"], error["code"], error["ran"]) == (kind, code, "none")
    assert answer["executionId"]
    assert set(error) == {"kind", "code", "service", "message", "step", "ran", "retryable"}


@pytest.mark.parametrize(
    ("category", "locale", "kind"),
    [("daily_quota", "ja", "quota"), ("flow_error", "nl", "user"), ("daily_quota", "de", "quota")],
)
def test_exceptions_are_known_in_other_languages(
    simulator: Simulator, category: str, locale: str, kind: str
) -> None:
    instance: Json = {"deployment_id": "AKfycb-far", "name": "far", "owner": "far@example.com"}
    simulator.control(
        "POST", "instances", {**instance, "keys": {"k1": "first-secret-ü"}, "locale": locale}
    )
    simulator.inject(category, count=1)
    assert simulator.run(send_step(), instance="far")["error"]["kind"] == kind


def test_pages_are_localised(simulator: Simulator) -> None:
    simulator.inject("concurrency", instance="local-3")
    answer = simulator.first_hop(simulator.envelope({"op": "ping"}, "local-3").signed(), "local-3")
    assert "gleichzeitig" in answer.text
    assert "simultaneously" not in answer.text


def location_of(simulator: Simulator, body: Json) -> str:
    hop = simulator.first_hop(simulator.envelope(body).signed())
    assert hop.status_code == 302
    return str(hop.headers["location"])


def test_a_lost_echo_is_a_404_page_though_the_script_ran(simulator: Simulator) -> None:
    simulator.inject("echo_lost", count=1)
    body = simulator.run_body(send_step())
    location = location_of(simulator, body)
    for _ in range(4):
        assert simulator.http.get(location).status_code == 404
    assert simulator.result(body["executionId"])["status"] == "done"
    assert len(simulator.effects()) == 1


def test_a_lost_echo_may_come_back_after_some_reads(simulator: Simulator) -> None:
    simulator.inject("echo_lost", count=1, reads=2)
    location = location_of(simulator, simulator.run_body(send_step()))
    statuses = [simulator.http.get(location).status_code for _ in range(3)]
    assert statuses == [404, 404, 200]


def test_an_echo_can_bounce_back_to_exec(simulator: Simulator) -> None:
    simulator.inject("echo_lost", variant="bounce", count=1)
    location = location_of(simulator, simulator.run_body(send_step()))
    bounced = simulator.http.get(location)
    assert bounced.status_code == 302
    assert bounced.headers["location"] == simulator.url()


def test_an_echo_can_time_out(simulator: Simulator) -> None:
    simulator.inject("echo_lost", variant="timeout", ms=300_000, count=1)
    location = location_of(simulator, simulator.run_body(send_step()))
    with pytest.raises(httpx.ReadTimeout):
        simulator.http.get(location, timeout=0.2)


def test_a_slow_echo_answers_in_the_end(simulator: Simulator) -> None:
    simulator.inject("echo_slow", ms=50, count=1)
    location = location_of(simulator, simulator.run_body(send_step()))
    assert simulator.http.get(location).json()["ok"] is True


def test_html_can_come_in_place_of_json(simulator: Simulator) -> None:
    simulator.inject("html_instead_of_json", count=1)
    location = location_of(simulator, simulator.run_body(send_step()))
    answer = simulator.http.get(location)
    assert (answer.status_code, answer.headers["content-type"][:9]) == (200, "text/html")


def test_an_answer_can_carry_a_foreign_id(simulator: Simulator) -> None:
    simulator.inject("wrong_execution_id", count=1)
    body = simulator.run_body(send_step())
    answer = simulator.call(body)
    assert answer["ok"] is True
    assert answer["executionId"] != body["executionId"]


@pytest.mark.parametrize(
    ("category", "variant", "ran"),
    [
        ("dead", None, False),
        ("network", None, False),
        ("network", "ran", True),
        ("first_hop_lost", None, True),
        ("killed_before_marker", None, False),
        ("killed_mid_effect", None, True),
    ],
)
def test_a_connection_can_break_before_any_answer(
    simulator: Simulator, category: str, variant: str | None, ran: bool
) -> None:
    simulator.inject(category, count=1, **({"variant": variant} if variant else {}))
    body = simulator.run_body(send_step())
    with pytest.raises(httpx.RemoteProtocolError):
        simulator.first_hop(simulator.envelope(body).signed())
    assert len(simulator.effects()) == int(ran)


def test_a_read_can_time_out_though_the_script_ran(simulator: Simulator) -> None:
    simulator.inject("network", variant="timeout", ms=400, count=1)
    body = simulator.run_body(send_step())
    with pytest.raises(httpx.ReadTimeout):
        simulator.http.post(simulator.url(), json=simulator.envelope(body).signed(), timeout=0.2)
    assert len(simulator.effects()) == 1


def statuses(simulator: Simulator, calls: int, instance: str = "local-1") -> list[int]:
    return [
        simulator.first_hop(
            simulator.envelope({"op": "ping"}, instance).signed(), instance
        ).status_code
        for _ in range(calls)
    ]


def test_a_fault_can_be_counted(simulator: Simulator) -> None:
    simulator.inject("http_5xx", count=2, status=502)
    assert statuses(simulator, 4) == [502, 502, 302, 302]


def test_a_fault_can_be_aimed_at_one_execution(simulator: Simulator) -> None:
    aimed, other = (simulator.run_body(send_step()) for _ in range(2))
    simulator.inject("http_429", execution_id=aimed["executionId"])
    assert simulator.first_hop(simulator.envelope(other).signed()).status_code == 302
    assert simulator.first_hop(simulator.envelope(aimed).signed()).status_code == 429


def test_a_fault_can_be_scheduled_by_calls(simulator: Simulator) -> None:
    simulator.inject("http_429", schedule={"calls": [2, 4]})
    assert statuses(simulator, 5) == [302, 429, 302, 429, 302]


def test_a_fault_can_be_scheduled_by_time(simulator: Simulator) -> None:
    simulator.inject("http_429", schedule={"after_seconds": 3600})
    simulator.inject("http_5xx", schedule={"for_seconds": 3600})
    assert statuses(simulator, 2) == [503, 503]


def test_a_fault_can_be_a_matter_of_chance(simulator: Simulator) -> None:
    simulator.inject("http_5xx", probability=0.3)
    hits = statuses(simulator, 200).count(503)
    assert 30 <= hits <= 90  # five standard deviations around 60


def test_a_fault_can_be_one_instances_or_one_owners(simulator: Simulator) -> None:
    simulator.inject("http_5xx", instance="local-2")
    simulator.inject("http_429", owner="owner-b@example.com")
    hit = {name: statuses(simulator, 1, name) for name in ("local-1", "local-2", "local-3")}
    assert hit == {"local-1": [302], "local-2": [503], "local-3": [429]}


def test_a_fault_can_be_kept_to_some_calls(simulator: Simulator) -> None:
    simulator.inject("http_5xx", ops=["run"])
    assert statuses(simulator, 1) == [302]
    body = simulator.run_body(send_step())
    assert simulator.first_hop(simulator.envelope(body).signed()).status_code == 503


def test_faults_end_when_they_are_deleted(simulator: Simulator) -> None:
    simulator.inject("http_5xx")
    assert statuses(simulator, 1) == [503]
    simulator.control("DELETE", "injections")
    assert statuses(simulator, 1) == [302]


@pytest.mark.parametrize(
    ("rule", "named"),
    [
        ({"category": "earthquake"}, "category"),
        ({"category": "login", "variant": "sideways"}, "variant"),
        ({"category": "login", "probability": -1}, "probability"),
        ({"category": "login", "ops": ["walk"]}, "ops"),
        ({"category": "login", "chance": 1}, "chance"),
    ],
)
def test_a_rule_out_of_shape_is_refused_by_its_field(
    simulator: Simulator, rule: dict[str, Any], named: str
) -> None:
    answer = simulator.http.post(f"{simulator.exec_url}/_sim/injections", json=rule)
    assert answer.status_code == 400
    assert named in answer.json()["error"]
