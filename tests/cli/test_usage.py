"""`flowstate usage`: bars for one user, a table for all tiers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flowstate_cli.usage import emit_usage

from .conftest import FlowState, Person
from .people import NOBODY

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def window(name: str, limit: int | None, used: int, resets_at: datetime | None = None) -> Any:
    return {
        "window": name,
        "limit": limit,
        "used": used,
        "remaining": None if limit is None else limit - used,
        "resets_at": resets_at and resets_at.isoformat(),
    }


def lines_of(capsys: pytest.CaptureFixture[str], *windows: Any) -> list[str]:
    usage = {"limits": windows, "running": 1, "max_running": 4, "queued": 2}
    emit_usage(usage, NOON)
    return capsys.readouterr().out.splitlines()


def test_a_user_with_room_sees_how_much(
    flowstate: FlowState, person: Person, flow: dict[str, Any]
) -> None:
    flowstate("enqueue", flow["id"], "--count", "3")
    found = flowstate.json("usage", person.email)
    hour = found["limits"][0]
    assert (hour["window"], hour["limit"], hour["used"], hour["remaining"]) == ("hour", 100, 3, 97)
    assert found == flowstate.json("users", "show", person.id)["usage"]
    shown = flowstate("usage", person.id).stdout
    assert "3 of 100, 97 left" in shown
    assert "3, unlimited" in shown
    assert "0 of 20, 3 queued" in shown


def test_a_user_without_room_sees_when_there_is_again(
    flowstate: FlowState, person: Person, flow: dict[str, Any]
) -> None:
    flowstate("users", "set-tier", person.id, "free")
    flowstate("enqueue", flow["id"], "--count", "5")
    hour = flowstate.json("usage", person.id)["limits"][0]
    assert hour["remaining"] == 0
    moment = datetime.fromisoformat(hour["resets_at"])
    shown = flowstate("usage", person.id).stdout
    assert f"5 of 5, full until {moment:%Y-%m-%d %H:%M:%S}" in shown
    assert "5 of 20, 15 left" in shown


def test_a_bar_is_full_only_when_the_window_is(capsys: pytest.CaptureFixture[str]) -> None:
    bars = [
        line.split()[-6 if " left" in line else -7]
        for line in lines_of(
            capsys,
            window("hour", 1000, 0),
            window("hour", 1000, 1),
            window("hour", 1000, 500),
            window("hour", 1000, 999),
        )[:-1]
    ]
    assert [bar.count("█") for bar in bars] == [0, 1, 10, 19]
    assert {len(bar) for bar in bars} == {20}


def test_the_wait_is_told_in_a_fitting_unit(capsys: pytest.CaptureFixture[str]) -> None:
    waits = (
        timedelta(seconds=-3), timedelta(seconds=119), timedelta(minutes=2),
        timedelta(minutes=119), timedelta(hours=2), timedelta(days=3),
    )  # fmt: skip
    lines = lines_of(capsys, *(window("day", 5, 5, NOON + wait) for wait in waits))
    told = [line.rpartition("(")[2].rstrip(")") for line in lines[:-1]]
    assert told == ["in 0 s", "in 119 s", "in 2 min", "in 119 min", "in 2 h", "in 3 d"]


def test_every_tier_is_counted(flowstate: FlowState, person: Person, flow: dict[str, Any]) -> None:
    before = {row["tier"]: row for row in flowstate.json("usage")}
    flowstate("enqueue", flow["id"], "--count", "2")
    after = {row["tier"]: row for row in flowstate.json("usage")}
    for name in ("accepted_last_hour", "accepted_last_day", "queued"):
        assert after["enterprise"][name] == before["enterprise"][name] + 2
    shown = flowstate("usage").stdout
    assert "in the last hour" in shown
    assert "enterprise" in shown


@pytest.mark.parametrize(
    ("user", "code", "message"),
    [
        ("ana", 2, "user: 'ana' is neither a UUID nor an e-mail address"),
        (NOBODY, 1, f"user: There is no user {NOBODY}"),
        ("nobody@example.com", 1, "user: No user has this e-mail address"),
    ],
)
def test_bad_input_is_named(flowstate: FlowState, user: str, code: int, message: str) -> None:
    result = flowstate("usage", user)
    assert result.exit_code == code
    assert message in result.stderr
