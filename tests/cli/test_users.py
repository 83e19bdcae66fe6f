"""`flowstate users list`, `show`, `set-tier`, `set-role`, `suspend`, `resume`."""

from __future__ import annotations

import pytest

from flowstate_cli.api import Api

from .conftest import FlowState, Person
from .people import NOBODY, claim, finish, new_person, on_a_terminal, only_owner, profile


def test_a_user_is_found_by_id_and_by_address(flowstate: FlowState, person: Person) -> None:
    by_id = flowstate.json("users", "show", person.id)
    for address in (person.email, person.email.upper()):
        assert flowstate.json("users", "show", address) == by_id
    assert (by_id["user_id"], by_id["email"]) == (person.id, person.email)
    assert (by_id["tier"], by_id["role"], by_id["state"]) == ("enterprise", "user", "active")
    [listed] = flowstate.json("users", "list", "--search", person.email.upper())
    assert [listed] == flowstate.json("users", "list", "--search", person.id)
    for key in ("user_id", "email", "tier", "role", "state"):
        assert listed[key] == by_id[key]


def test_people_see_limits_usage_and_what_is_queued(
    flowstate: FlowState, api: Api, person: Person, flow: dict[str, str]
) -> None:
    flowstate("enqueue", flow["id"], "--count", "3")
    shown = flowstate("users", "show", person.email).stdout
    lines = {line[:14].strip(): line[14:].strip() for line in shown.splitlines()}
    assert lines["e-mail"] == person.email
    assert (lines["weight"], lines["available"], lines["flows"]) == ("16", "3", "1")
    assert "3 of 100, 97 left" in shown
    assert "3, unlimited" in shown


def test_the_pages_of_the_list_hold_everybody_once(
    flowstate: FlowState, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        new_person(api)
    everybody = [row["user_id"] for row in flowstate.json("users", "list", "--limit", "5000")]
    monkeypatch.setattr("flowstate_cli.commands.users.listing._PAGE", 2)
    paged = [row["user_id"] for row in flowstate.json("users", "list", "--limit", "5000")]
    assert paged == everybody == sorted(set(everybody))
    assert len(everybody) >= 5
    for limit in (1, 2, 3):
        few = flowstate.json("users", "list", "--limit", str(limit))
        assert [row["user_id"] for row in few] == everybody[:limit]


def test_the_list_is_filtered_by_tier_role_and_state(flowstate: FlowState, api: Api) -> None:
    helper = new_person(api, "support")
    flowstate("users", "suspend", helper.id, "--reason", "on leave")
    found = flowstate.json("users", "list", "--tier", "free", "--role", "support",
                           "--state", "suspended", "--limit", "5000")  # fmt: skip
    assert helper.id in [row["user_id"] for row in found]
    assert {(row["tier"], row["role"], row["state"]) for row in found} == {
        ("free", "support", "suspended")
    }
    shown = flowstate("users", "list", "--search", helper.email).stdout
    assert helper.email in shown
    assert "suspended" in shown
    assert flowstate.json("users", "list", "--search", helper.email, "--tier", "pro") == []


def test_a_tier_is_set_and_the_trail_says_why(
    flowstate: FlowState, api: Api, person: Person
) -> None:
    found = flowstate.json("users", "set-tier", person.email, "pro", "--reason", "moved down")
    assert (found["tier"], found["limits"]["hour_limit"]) == ("pro", 30)
    assert profile(api, person.id)["tier"] == "pro"
    [entry] = flowstate.json("audit", "log", "--user", person.id, "--limit", "1")
    assert entry["details"]["reason"] == "moved down"


def test_a_role_is_set(flowstate: FlowState, api: Api, person: Person) -> None:
    shown = flowstate("users", "set-role", person.email, "support")
    assert shown.exit_code == 0
    assert "support" in shown.stdout
    assert profile(api, person.id)["role"] == "support"


def test_the_last_owner_keeps_role_and_account(flowstate: FlowState, api: Api) -> None:
    owner = only_owner(api)
    before = profile(api, owner.id)
    attempts = (
        ("set-role", owner.id, "admin"),
        ("suspend", owner.id, "--reason", "x"),
        ("delete", owner.id, "--no-export", "--yes", "--reason", "x"),
    )
    for arguments in attempts:
        result = flowstate("users", *arguments)
        assert result.exit_code == 1, arguments
        assert f"user_id: {owner.id} is the last owner" in result.stderr
        assert "Make somebody else an owner first" in result.stderr
        assert profile(api, owner.id) == before
    # With a second one it may go.
    new_person(api, "owner")
    assert flowstate("users", "set-role", owner.id, "user").exit_code == 0


def test_a_suspended_user_queues_nothing_until_resumed(
    flowstate: FlowState, api: Api, person: Person, flow: dict[str, str]
) -> None:
    found = flowstate.json("users", "suspend", person.email, "--reason", "spam")
    assert found["state"] == "suspended"
    assert profile(api, person.id)["suspended_at"]
    refused = flowstate("enqueue", flow["id"])
    assert refused.exit_code == 1
    assert "suspended" in refused.stderr
    assert flowstate.json("users", "resume", person.email)["state"] == "active"
    assert profile(api, person.id)["suspended_at"] is None
    assert flowstate("enqueue", flow["id"]).exit_code == 0


def test_suspending_asks_before_it_cancels_what_runs(
    flowstate: FlowState, api: Api, person: Person, flow: dict[str, str]
) -> None:
    [queued] = flowstate.json("enqueue", flow["id"])["items"]
    lease = claim(api, queued["execution_id"])
    command = ("users", "suspend", person.id, "--reason", "spam")
    unasked = flowstate(*command)
    assert unasked.exit_code == 2
    assert "--yes: " in unasked.stderr
    code, said = on_a_terminal(flowstate, *command, typed=["n"])
    assert code == 1
    assert "Nothing was changed" in said
    assert profile(api, person.id)["suspended_at"] is None
    sure = flowstate(*command, "--yes")
    assert sure.exit_code == 0
    assert "1 running execution(s) are being cancelled" in sure.stderr
    finish(api, lease)
    assert flowstate.json("queue", "show", queued["execution_id"])["state"] == "cancelled"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("show", "ana"), 2, "user: 'ana' is neither a UUID nor an e-mail address"),
        (("show", NOBODY), 1, f"user: There is no user {NOBODY}"),
        (("show", "nobody@example.com"), 1, "user: No user has this e-mail address"),
        (("list", "--tier", "gold"), 2, "--tier: There is no tier 'gold'"),
        (("list", "--role", "king"), 2, "--role"),
        (("list", "--state", "gone"), 2, "--state"),
        (("list", "--limit", "0"), 2, "greater than or equal to 1"),
        (("set-tier", NOBODY, "pro"), 1, f"user: There is no user {NOBODY}"),
        (("set-role", NOBODY, "king"), 2, "king"),
        (("suspend", NOBODY), 2, "--reason"),
        (("suspend", "x", "--reason", "y"), 2, "user: 'x' is neither"),
        (("resume", NOBODY), 1, f"user: There is no user {NOBODY}"),
    ],
)
def test_bad_input_is_named(
    flowstate: FlowState, arguments: tuple[str, ...], code: int, message: str
) -> None:
    result = flowstate("users", *arguments)
    assert result.exit_code == code, result.output
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert not result.stdout


def test_what_the_database_refuses_changes_nothing(
    flowstate: FlowState, api: Api, person: Person
) -> None:
    before = profile(api, person.id)
    unknown = flowstate("users", "set-tier", person.id, "gold")
    assert unknown.exit_code == 2
    assert "tier: there is no tier 'gold'" in unknown.stderr
    assert "enterprise, free, pro" in unknown.stderr
    empty = flowstate("users", "suspend", person.id, "--reason", " ")
    assert empty.exit_code == 2
    assert "reason must say why" in empty.stderr
    long = flowstate("users", "set-tier", person.id, "pro", "--reason", "x" * 501)
    assert long.exit_code == 2
    assert "reason has 501 characters" in long.stderr
    assert profile(api, person.id) == before
