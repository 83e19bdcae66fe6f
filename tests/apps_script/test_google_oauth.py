"""The simulator's token endpoint answers as Google documents it, and as its users report it."""

from collections.abc import Iterator

import pytest

from tests.apps_script.simulator import Simulator
from tests.google import SCOPE, Client, Google


@pytest.fixture
def google(simulator: Simulator) -> Iterator[Google]:
    google = Google(simulator.exec_url)
    yield google
    google.close()


@pytest.fixture
def client(google: Google) -> Client:
    return google.client()


def test_consent_brings_a_refresh_token_and_a_first_access_token(
    google: Google, client: Client
) -> None:
    answer = google.consent(client)
    assert set(answer) == {"access_token", "expires_in", "refresh_token", "scope", "token_type"}
    assert answer["access_token"].startswith("ya29.")
    assert answer["refresh_token"].startswith("1//")


def test_a_refresh_brings_another_access_token_for_3599_seconds(
    google: Google, client: Client
) -> None:
    granted = google.consent(client)
    answer = google.refresh(client, granted["refresh_token"])
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert "no-store" in answer.headers["cache-control"]
    fields = answer.json()
    assert set(fields) == {"access_token", "expires_in", "scope", "token_type"}
    assert (fields["expires_in"], fields["scope"], fields["token_type"]) == (3599, SCOPE, "Bearer")
    assert fields["access_token"] != granted["access_token"]
    assert google.grant(granted["refresh_token"])["refreshes"] == 1


def test_a_withdrawn_token_is_an_invalid_grant(google: Google, client: Client) -> None:
    token = google.consent(client)["refresh_token"]
    google.withdraw(token)
    answer = google.refresh(client, token)
    assert (answer.status_code, answer.json()) == (
        400,
        {"error": "invalid_grant", "error_description": "Token has been expired or revoked."},
    )


def test_a_token_that_google_never_gave_is_an_invalid_grant(google: Google, client: Client) -> None:
    answer = google.refresh(client, "1//0nobody")
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


@pytest.mark.parametrize(
    ("change", "status", "error"),
    [
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"client_id": ""}, 400, "invalid_request"),
        ({"client_id": "nobody"}, 401, "invalid_client"),
        ({"client_secret": "wrong"}, 401, "invalid_client"),
        ({"refresh_token": ""}, 400, "invalid_request"),
    ],
)
def test_a_wrong_request_is_refused_with_its_code(
    google: Google, client: Client, change: dict[str, str], status: int, error: str
) -> None:
    form = {
        "grant_type": "refresh_token",
        "client_id": client.id,
        "client_secret": client.secret,
        "refresh_token": google.consent(client)["refresh_token"],
    }
    answer = google.ask(**{**form, **change})
    assert (answer.status_code, answer.json()["error"]) == (status, error)


def test_a_token_of_another_client_is_refused(google: Google, client: Client) -> None:
    token = google.consent(google.client())["refresh_token"]
    answer = google.refresh(client, token)
    assert (answer.status_code, answer.json()["error"]) == (401, "unauthorized_client")


@pytest.mark.parametrize("which", ["refresh_token", "access_token"])
def test_either_token_ends_the_grant_once(google: Google, client: Client, which: str) -> None:
    granted = google.consent(client)
    first = google.ask("/revoke", token=granted[which])
    assert (first.status_code, first.json()) == (200, {})
    again = google.ask("/revoke", token=granted[which])
    assert (again.status_code, again.json()["error"]) == (400, "invalid_token")
    assert google.refresh(client, granted["refresh_token"]).json()["error"] == "invalid_grant"


def test_an_access_token_that_has_expired_ends_nothing(
    google: Google, client: Client, simulator: Simulator
) -> None:
    granted = google.consent(client)
    simulator.advance(3600)
    assert google.ask("/revoke", token=granted["access_token"]).status_code == 400
    assert google.refresh(client, granted["refresh_token"]).status_code == 200


@pytest.mark.parametrize("path", ["/token", "/revoke"])
def test_only_post_is_served(google: Google, simulator: Simulator, path: str) -> None:
    answer = simulator.http.get(google.url + path)
    assert answer.status_code == 404
    assert "text/html" in answer.headers["content-type"]


@pytest.mark.parametrize(
    ("fault", "status", "says"),
    [
        ("internal_failure", 500, '"internal_failure"'),
        ("page_502", 502, "<title>Error 502"),
        ("unavailable_503", 503, "Unavailable"),
        ("rate_limited", 429, "rate_limit_exceeded"),
        ("invalid_rapt", 400, "invalid_rapt"),
        ("html_200", 200, "<title>Google"),
    ],
)
def test_a_fault_hits_as_often_as_it_was_asked_to(
    google: Google, client: Client, fault: str, status: int, says: str
) -> None:
    token = google.consent(client)["refresh_token"]
    google.fault(fault, retry_after=7)
    answer = google.refresh(client, token)
    assert answer.status_code == status
    assert says in answer.text
    if status in (429, 503):
        assert answer.headers["retry-after"] == "7"
    assert google.refresh(client, token).status_code == 200


def test_a_fault_can_be_for_one_token(google: Google, client: Client) -> None:
    mine, other = (google.consent(client)["refresh_token"] for _ in range(2))
    google.fault("internal_failure", refresh_token=mine)
    assert google.refresh(client, other).status_code == 200
    assert google.refresh(client, mine).status_code == 500


def test_a_fault_that_does_not_exist_is_named(google: Google, simulator: Simulator) -> None:
    answer = simulator.http.post(f"{google.url}/_sim/google/faults", json={"fault": "rain"})
    assert answer.status_code == 400
    assert "fault must be one of hold" in answer.json()["error"]
