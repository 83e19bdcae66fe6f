"""`flowstate instances add`: what is stored, what is not, and what is still to be done."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from flowstate_cli.api import Api

from .conftest import FlowState


@pytest.fixture
def name(api: Api) -> Iterator[str]:
    chosen = f"pool-{secrets.token_hex(4)}"
    yield chosen
    api.run(api.table("apps_script_instances").delete().eq("name", chosen))


def _url(name: str) -> str:
    return f"https://script.google.com/macros/s/AKfycb-{name}/exec"


def test_an_instance_and_its_owner_are_added(flowstate: FlowState, name: str, api: Api) -> None:
    owner = f"{name}@example.com"
    added = flowstate.json(
        "instances", "add", name, "--url", _url(name), "--owner", owner,
        "--account-type", "workspace", "--max-in-flight", "7",
    )  # fmt: skip
    assert (added["name"], added["max_in_flight"], added["key_id"]) == (name, 7, "k1")
    [stored] = api.rows(api.table("apps_script_owners").select("*").eq("owner", owner))
    assert stored["account_type"] == "workspace"
    assert name in [row["name"] for row in flowstate.json("instances", "list")]


def test_an_owner_that_is_known_keeps_its_settings(
    flowstate: FlowState, name: str, api: Api
) -> None:
    command = ("instances", "add", name, "--url", _url(name), "--owner", "owner-c@example.com")
    assert flowstate(*command).exit_code == 0
    query = api.table("apps_script_owners").select("*").eq("owner", "owner-c@example.com")
    assert api.rows(query)[0]["account_type"] == "workspace"


def test_the_secret_is_asked_for_where_the_worker_reads_it_and_never_stored(
    flowstate: FlowState, name: str
) -> None:
    result = flowstate(
        "instances", "add", name, "--url", _url(name), "--owner", "o@example.com", "--key-id", "k9"
    )
    assert result.exit_code == 0
    assert 'FLOWSTATE_INSTANCE_KEYS=\'{"k9": "<the script\'s HMAC_k9>"}\'' in result.stderr


def test_a_name_that_is_taken_is_refused(flowstate: FlowState) -> None:
    result = flowstate(
        "instances", "add", "local-1", "--url", _url("x"), "--owner", "owner-a@example.com"
    )
    assert result.exit_code == 1
    assert "exists already" in result.stderr


def test_another_host_is_refused_until_it_is_allowed(
    flowstate: FlowState, name: str, api: Api
) -> None:
    url = f"https://scripts.example.org/macros/s/{name}/exec"
    command = ("instances", "add", name, "--url", url, "--owner", "o@example.com")
    refused = flowstate(*command)
    assert refused.exit_code == 2
    assert "scripts.example.org is not on the allow-list" in refused.stderr
    assert "--allow-host" in refused.stderr
    before = api.rows(api.table("load_balancer_config").select("allowed_hosts"))
    try:
        allowed = flowstate(*command, "--allow-host")
    finally:
        api.run(api.table("load_balancer_config").update(before[0]).eq("id", True))
    assert allowed.exit_code == 0
    assert "FLOWSTATE_EXEC_HOSTS" in allowed.stderr
