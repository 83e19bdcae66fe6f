"""`flowstate audit`: what the trail says, who is said to have done it, and that a change shows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from flowstate_cli.actor import current_actor
from flowstate_cli.api import Api
from flowstate_local import LocalStack

from .conftest import FlowState, Person

HEAD = re.compile(r"[0-9]+:[0-9a-f]{64}")


@pytest.fixture
def owner_of_the_database(stack: LocalStack) -> Iterator[psycopg.Connection]:
    """Nobody else can change the trail."""
    with psycopg.connect(stack.info.db_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def changed(api: Api, person: Person) -> Person:
    """A person whose tier was changed twice: once by the fixture, once here."""
    api.run(api.table("user_profiles").update({"tier": "pro"}).eq("user_id", person.id))
    return person


def test_a_change_names_who_made_it_and_what_was_before(
    flowstate: FlowState, changed: Person
) -> None:
    rows = flowstate.json("audit", "log", "--user", changed.email, "--action", "user.changed")
    last = rows[-1]
    assert last["actor"] == f"service {current_actor()}"
    assert (last["object_type"], last["object_id"]) == ("user", changed.id)
    assert last["details"]["before"] == {"tier": "enterprise"}
    assert last["details"]["after"] == {"tier": "pro"}


def test_people_see_a_line_with_the_change(flowstate: FlowState, changed: Person) -> None:
    lines = flowstate("audit", "log", "--user", changed.id).stdout.splitlines()
    assert f"service {current_actor()}" in lines[-1]
    assert "user.changed" in lines[-1]
    assert "tier: enterprise → pro" in lines[-1]
    assert "user.created" in lines[0]
    assert "tier: free" in lines[0]
    assert "→" not in lines[0]


def test_the_latest_are_shown_with_the_oldest_of_them_first(
    flowstate: FlowState, changed: Person
) -> None:
    everything = flowstate.json("audit", "log", "--user", changed.id)
    assert [row["occurred_at"] for row in everything] == sorted(
        row["occurred_at"] for row in everything
    )
    assert flowstate.json("audit", "log", "--user", changed.id, "--limit", "1") == everything[-1:]


def test_the_filters_hold_together(flowstate: FlowState, changed: Person) -> None:
    rows = flowstate.json("audit", "log", "--user", changed.id)
    [first, *_, last] = rows
    of_user = ("audit", "log", "--user", changed.id)
    assert flowstate.json(*of_user, "--action", "user.*") == rows
    assert flowstate.json(*of_user, "--action", "flow.*") == []
    ours = [row for row in rows if row["actor"].startswith("service ")]
    assert flowstate.json(*of_user, "--actor", current_actor()) == ours == rows[1:]
    assert flowstate.json(*of_user, "--actor", f"service {current_actor()}") == ours
    assert flowstate.json(*of_user, "--actor", "owner") == []
    assert flowstate.json(*of_user, "--actor", changed.email) == []
    assert flowstate.json(*of_user, "--actor", changed.id) == []
    assert flowstate.json(*of_user, "--since", last["occurred_at"]) == [last]
    assert last not in flowstate.json(*of_user, "--until", last["occurred_at"])
    assert first in flowstate.json(*of_user, "--until", last["occurred_at"])


def test_an_underscore_of_an_action_stands_for_itself(
    flowstate: FlowState, api: Api, person: Person
) -> None:
    api.rpc("record_user_activity", {"user_id": person.id, "action": "test.a_b"})
    api.rpc("record_user_activity", {"user_id": person.id, "action": "test.axb"})
    [row] = flowstate.json("audit", "log", "--user", person.id, "--action", "test.a_b")
    assert row["action"] == "test.a_b"


def test_an_id_of_somebody_who_is_gone_can_be_asked_for(flowstate: FlowState) -> None:
    nobody = "00000000-0000-4000-8000-000000000000"
    assert flowstate.json("audit", "log", "--user", nobody) == []


def test_an_untouched_trail_is_intact_and_its_head_can_be_noted(
    flowstate: FlowState, changed: Person, api: Api
) -> None:
    found = flowstate.json("audit", "verify")
    assert found["ok"] is True
    assert found["checked"] > 0
    assert found["unchained"] == 0
    head = f"{found['last_position']}:{found['last_hash']}"
    assert HEAD.fullmatch(head)
    shown = flowstate("audit", "verify")
    assert shown.exit_code == 0
    assert head in shown.stdout
    assert "intact" in shown.stderr
    # It is still there when the trail went on.
    api.rpc("record_user_activity", {"user_id": changed.id, "action": "test.later"})
    later = flowstate.json("audit", "verify", "--expect", head)
    assert later["last_position"] > found["last_position"]
    assert later["unexpected"] == []


def test_all_of_a_trail_that_is_longer_than_a_stretch_is_verified(
    flowstate: FlowState, changed: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = flowstate.json("audit", "verify")
    monkeypatch.setattr("flowstate_cli.activity._STRETCH", 2)
    assert flowstate.json("audit", "verify") == whole


def test_a_changed_row_is_found_and_named(
    flowstate: FlowState, changed: Person, owner_of_the_database: psycopg.Connection
) -> None:
    flowstate("audit", "verify")
    [row] = flowstate.json("audit", "log", "--user", changed.id, "--limit", "1")
    change = b"update public.user_activity_logs set details = %s where id = %s"
    forged = '{"before": {"tier": "free"}, "after": {"tier": "pro"}}'
    owner_of_the_database.execute(change, (forged, row["id"]))
    try:
        found = flowstate.json("audit", "verify", exit_code=1)
        told = flowstate("audit", "verify")
    finally:
        owner_of_the_database.execute(change, (Jsonb(row["details"]), row["id"]))
    assert found["ok"] is False
    assert found["broken"]["position"] == row["chain_position"]
    assert found["broken"]["id"] == row["id"]
    assert told.exit_code == 1
    assert f"Position {row['chain_position']}: its content was changed" in told.stderr
    assert flowstate("audit", "verify").exit_code == 0


def test_a_head_that_is_not_in_the_chain_is_a_failure(
    flowstate: FlowState, changed: Person
) -> None:
    head = flowstate.json("audit", "verify")
    position, other = head["last_position"], "0" * 64
    found = flowstate.json("audit", "verify", "--expect", f"{position}:{other}", exit_code=1)
    assert found["broken"] is None
    assert found["unexpected"] == [
        {"position": position, "problem": "its hash is not the one that was expected"}
    ]
    beyond = f"{position + 100}:{head['last_hash']}"
    result = flowstate("audit", "verify", "--expect", beyond)
    assert result.exit_code == 1
    assert f"Position {position + 100}: it was the head, and the chain ends at" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("log", "--user", "ana"), "--user: 'ana' is neither a UUID nor an e-mail"),
        (("log", "--actor", 'x",id.gt."0'), "--actor: "),
        (("log", "--action", "%"), "--action: '%' is no action"),
        (("log", "--since", "noon"), "--since: 'noon' is no time"),
        (("log", "--until", "2026-01-01"), "--until: '2026-01-01' has no offset"),
        (
            ("log", "--since", "2026-01-02T00:00:00Z", "--until", "2026-01-01T00:00:00Z"),
            "--until: This is not after --since",
        ),
        (("log", "--limit", "0"), "greater than or equal to 1"),
        (("verify", "--expect", "7"), "--expect: '7' is no head of the trail"),
        (("verify", "--expect", "-1:" + "0" * 64), "--expect: "),
    ],
)
def test_bad_input_is_named(flowstate: FlowState, arguments: tuple[str, ...], message: str) -> None:
    result = flowstate("audit", *arguments)
    assert result.exit_code == 2, result.output
    assert message in " ".join(result.stderr.replace("│", " ").split())


def test_an_unknown_address_is_named(flowstate: FlowState) -> None:
    result = flowstate("audit", "log", "--user", "nobody@example.com")
    assert result.exit_code == 1
    assert "--user: No user has this e-mail address" in result.stderr


def test_the_actor_is_short_and_plain_whatever_the_machine_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: 'ana\r\nx: "é' + "x" * 200)
    monkeypatch.setattr("socket.gethostname", lambda: "h" * 300)
    actor = current_actor()
    assert re.fullmatch(r"ana[A-Za-z0-9-]+@h+", actor)
    assert len(actor) == 100

    def nameless() -> Any:
        raise KeyError("getpwuid(): uid not found: 1000")

    monkeypatch.setattr("getpass.getuser", nameless)
    monkeypatch.setattr("socket.gethostname", lambda: "")
    assert current_actor() == "unknown@unknown"
