"""`flowstate tiers`: what is changed is shown with what was, and what must not be is refused."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from flowstate_cli.api import Api

from .conftest import FlowState, Person
from .people import on_a_terminal


@pytest.fixture
def tier(flowstate: FlowState, api: Api) -> Iterator[str]:
    """A new tier: 10 an hour, 50 a day, 90 days of logs."""
    name = f"t_{secrets.token_hex(4)}"
    made = flowstate("tiers", "set", name, "--create", "--hour", "10", "--day", "50",
                     "--retention-days", "90")  # fmt: skip
    assert made.exit_code == 0, made.output
    yield name
    api.run(api.table("user_profiles").update({"tier": "free"}).eq("tier", name))
    api.run(api.table("subscription_tiers").delete().eq("tier", name))


def stored(api: Api, tier: str) -> Any:
    return api.rows(api.table("subscription_tiers").select("*").eq("tier", tier))


def test_the_tiers_are_listed(flowstate: FlowState) -> None:
    rows = {row["tier"]: row for row in flowstate.json("tiers", "list")}
    assert (rows["free"]["hour_limit"], rows["free"]["day_limit"]) == (5, 20)
    assert rows["enterprise"]["day_limit"] is None
    [header, *lines] = flowstate("tiers", "list").stdout.splitlines()
    assert "in an hour" in header
    [free] = [line.split() for line in lines if line.split()[0] == "free"]
    assert free == ["free", "5", "20", "unlimited", "1", "1", "30", "10"]


def test_a_new_tier_has_what_free_has_but_for_what_was_named(
    flowstate: FlowState, api: Api, tier: str
) -> None:
    [row] = stored(api, tier)
    assert (row["hour_limit"], row["day_limit"], row["log_retention_days"]) == (10, 50, 90)
    assert (row["weight"], row["max_running"]) == (1, 1)


def test_a_change_shows_what_was_and_what_is(flowstate: FlowState, api: Api, tier: str) -> None:
    found = flowstate.json("tiers", "set", tier, "--hour", "20", "--day", "unlimited",
                           "--weight", "3", "--max-running", "4", "--context-mb", "1.5",
                           "--reason", "new prices")  # fmt: skip
    assert (found["before"]["hour_limit"], found["after"]["hour_limit"]) == (10, 20)
    assert stored(api, tier) == [found["after"]]
    assert (found["after"]["day_limit"], found["after"]["weight"]) == (None, 3)
    assert found["after"]["context_limit_bytes"] == 1_572_864
    shown = flowstate("tiers", "set", tier, "--hour", "30").stdout
    [line] = [line.split() for line in shown.splitlines() if "in an hour" in line]
    assert line[-2:] == ["20", "30"]
    assert "weight" not in shown
    query = api.table("user_activity_logs").select("details").eq("object_id", tier)
    [_, entry, _] = api.rows(query.order("occurred_at"))
    assert entry["details"]["reason"] == "new prices"


def test_a_change_acts_on_the_next_call_of_a_user(
    flowstate: FlowState, person: Person, flow: dict[str, Any], tier: str
) -> None:
    flowstate("users", "set-tier", person.id, tier)
    flowstate("tiers", "set", tier, "--hour", "2")
    found = flowstate.json("enqueue", flow["id"], "--count", "3", exit_code=1)
    assert (found["accepted"], found["refused"]) == (2, 1)


def test_a_dry_run_changes_nothing(flowstate: FlowState, api: Api, tier: str) -> None:
    before = stored(api, tier)
    command = ("tiers", "set", tier, "--hour", "40", "--dry-run")
    assert flowstate.json(*command)["after"]["hour_limit"] == 40
    assert "40" in flowstate(*command).stdout
    assert flowstate.json("tiers", "remove", tier, "--dry-run")["removed"] is False
    assert stored(api, tier) == before


def test_fewer_days_of_logs_are_asked_about(flowstate: FlowState, api: Api, tier: str) -> None:
    before = stored(api, tier)
    command = ("tiers", "set", tier, "--retention-days", "30")
    unasked = flowstate(*command)
    assert unasked.exit_code == 2
    assert "--yes: " in unasked.stderr
    code, said = on_a_terminal(flowstate, *command, typed=["n"])
    assert code == 1
    assert f"Delete logs of {tier} that are older than 30 days?" in said
    assert stored(api, tier) == before
    assert flowstate(*command, "--yes").exit_code == 0
    assert flowstate("tiers", "set", tier, "--retention-days", "31").exit_code == 0


def test_a_tier_is_removed(flowstate: FlowState, api: Api, tier: str) -> None:
    assert flowstate("tiers", "remove", tier).exit_code == 2
    assert stored(api, tier)
    assert flowstate("tiers", "remove", tier, "--yes").exit_code == 0
    assert stored(api, tier) == []


def test_a_tier_in_use_stays(flowstate: FlowState, api: Api, tier: str, person: Person) -> None:
    flowstate("users", "set-tier", person.id, tier)
    before = stored(api, tier)
    result = flowstate("tiers", "remove", tier, "--yes")
    assert result.exit_code == 1
    assert f"tier: {tier} is in use, users on it: 1" in result.stderr
    assert stored(api, tier) == before
    free = flowstate("tiers", "remove", "free", "--yes")
    assert free.exit_code == 1
    assert "free is what new users get" in free.stderr
    assert stored(api, "free")


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (("--hour", "0"), "limits.hour_limit must be an integer from 1 to 1000000"),
        (("--hour", "-5"), "limits.hour_limit must be an integer from 1 to 1000000"),
        (("--hour", "99999999999"), "limits.hour_limit must be an integer from 1 to 1000000"),
        (("--hour", "many"), "--hour: 'many' is no limit"),
        (("--hour", "1.5"), "--hour: '1.5' is no limit"),
        (("--hour", "51"), "51 per hour, 50 per day"),
        (("--month", "49"), "contradict each other"),
        (("--weight", "0"), "limits.weight must be an integer from 1 to 1000"),
        (("--weight", "unlimited"), "--weight"),
        (("--max-running", "1001"), "limits.max_running must be an integer from 1 to 1000"),
        (("--retention-days", "0", "--yes"), "limits.log_retention_days must be"),
        (("--context-mb", "-1"), "limits.context_limit_bytes must be"),
        (("--context-mb", "inf"), "--context-mb"),
        (("--context-mb", "nan"), "--context-mb"),
        ((), "--hour: No limit is named"),
        (("--hour", "20", "--reason", "x" * 501), "reason has 501 characters"),
    ],
)
def test_limits_that_cannot_be_right_change_nothing(
    flowstate: FlowState, api: Api, tier: str, limits: tuple[str, ...], message: str
) -> None:
    before = stored(api, tier)
    result = flowstate("tiers", "set", tier, *limits)
    assert result.exit_code == 2, result.output
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert stored(api, tier) == before


def test_a_tier_is_made_on_purpose_only(flowstate: FlowState, api: Api, tier: str) -> None:
    typo = flowstate("tiers", "set", f"{tier}_", "--hour", "20")
    assert typo.exit_code == 1
    assert f"tier: There is no tier '{tier}_'" in typo.stderr
    assert stored(api, f"{tier}_") == []
    again = flowstate("tiers", "set", tier, "--create", "--hour", "20")
    assert again.exit_code == 1
    assert f"tier: There is a tier '{tier}' already" in again.stderr
    assert stored(api, tier)[0]["hour_limit"] == 10
    bad = flowstate("tiers", "set", "No Name", "--create", "--hour", "20")
    assert bad.exit_code == 2
    assert "tier must be a name of 1 to 40 lower-case letters" in bad.stderr
    assert flowstate("tiers", "remove", "gold", "--yes").exit_code == 1
