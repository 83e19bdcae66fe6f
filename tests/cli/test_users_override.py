"""`flowstate users override`: an exception from the tier, until a moment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flowstate_cli.api import Api

from .conftest import FlowState, Person
from .people import NOBODY

SOON = (datetime.now(UTC) + timedelta(days=7)).isoformat(timespec="seconds")
PAST = "2020-01-01T00:00:00Z"


def stored(api: Api, person: Person) -> Any:
    return api.rows(api.table("user_limit_overrides").select("*").eq("user_id", person.id))


def test_an_exception_holds_beside_the_tier(flowstate: FlowState, api: Api, person: Person) -> None:
    found = flowstate.json("users", "override", person.email, "--hour", "unlimited",
                           "--weight", "20", "--until", SOON, "--reason", "launch")  # fmt: skip
    assert found["limits"] == {
        "hour_limit": None, "day_limit": None, "month_limit": None, "weight": 20, "max_running": 20,
    }  # fmt: skip
    [row] = stored(api, person)
    assert (row["unlimited"], row["weight"], row["max_running"]) == (["hour_limit"], 20, None)
    assert datetime.fromisoformat(row["ends_at"]) == datetime.fromisoformat(SOON)
    assert "launch" in flowstate("users", "show", person.id).stdout
    [line] = flowstate("audit", "log", "--user", person.id, "--action", "override.*").stdout.split(
        "\n"
    )[:-1]
    assert "unlimited: ['hour_limit']" in line


def test_a_later_exception_replaces_the_earlier_one_and_clear_ends_it(
    flowstate: FlowState, api: Api, person: Person
) -> None:
    common = ("users", "override", person.id, "--until", SOON, "--reason", "x")
    flowstate(*common, "--hour", "500", "--day", "900")
    found = flowstate.json(*common, "--max-running", "30")
    assert (found["limits"]["hour_limit"], found["limits"]["max_running"]) == (100, 30)
    cleared = flowstate("users", "override", person.id, "--clear", "--reason", "over")
    assert cleared.exit_code == 0
    assert stored(api, person) == []
    again = flowstate("users", "override", person.id, "--clear")
    assert again.exit_code == 1
    assert "has no exception" in again.stderr


def test_an_exception_acts_on_the_next_call(
    flowstate: FlowState, person: Person, flow: dict[str, Any]
) -> None:
    flowstate("users", "override", person.id, "--hour", "1", "--until", SOON, "--reason", "x")
    found = flowstate.json("enqueue", flow["id"], "--count", "2", exit_code=1)
    assert (found["accepted"], found["refused"]) == (1, 1)


END = ("--until", SOON, "--reason", "x")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--hour", "50", "--until", PAST, "--reason", "x"), "ends_at must be a moment in the"),
        (("--hour", "50", "--until", "9000-01-01T00:00:00Z", "--reason", "x"), "ten years"),
        (
            ("--hour", "50", "--until", "9999-12-31T23:59:59-01:00", "--reason", "x"),
            "--until: '9999-12-31T23:59:59-01:00' is beyond the calendar",
        ),
        (("--hour", "50", "--until", "friday", "--reason", "x"), "--until: 'friday' is no time"),
        (
            ("--hour", "50", "--until", "2099-01-01", "--reason", "x"),
            "2099-01-01T00:00:00Z for UTC",
        ),
        (("--hour", "50", "--reason", "x"), "--until: An exception needs an end"),
        (("--hour", "50", "--until", SOON), "--reason: An exception needs a reason"),
        (("--hour", "50", "--until", SOON, "--reason", " "), "reason must say why"),
        (END, "No limit is named"),
        (("--hour", "0", *END), "limits.hour_limit must be an integer from 1 to 1000000"),
        (("--day", "-1", *END), "limits.day_limit must be an integer from 1 to 10000000"),
        (("--month", "1e9", *END), "--month: '1e9' is no limit"),
        (("--weight", "1001", *END), "limits.weight must be an integer from 1 to 1000"),
        (("--max-running", "0", *END), "limits.max_running must be an integer from 1 to 1000"),
        (("--clear", "--hour", "5"), "--clear: Nothing else can be set"),
    ],
)
def test_an_exception_that_cannot_be_right_changes_nothing(
    flowstate: FlowState, api: Api, person: Person, arguments: tuple[str, ...], message: str
) -> None:
    flowstate("users", "override", person.id, "--hour", "7", *END)
    before = stored(api, person)
    result = flowstate("users", "override", person.id, *arguments)
    assert result.exit_code == 2, result.output
    assert message in " ".join(result.stderr.split())
    assert stored(api, person) == before != []


def test_an_unknown_user_is_named(flowstate: FlowState) -> None:
    result = flowstate("users", "override", NOBODY, "--hour", "5", *END)
    assert result.exit_code == 1
    assert f"user: There is no user {NOBODY}" in result.stderr
