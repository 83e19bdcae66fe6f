"""`flowstate doctor` finds what is broken, names it, and says what to do."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest

from flowstate_cli.api import Api
from flowstate_local import LocalStack

from .conftest import FlowState


def _checks(flowstate: FlowState, exit_code: int = 1) -> dict[str, dict[str, Any]]:
    found = flowstate.json("doctor", exit_code=exit_code)
    return {check["check"]: check for check in found["checks"]}


def test_a_sound_stack_has_nothing_that_fails(flowstate: FlowState) -> None:
    checks = _checks(flowstate, exit_code=0)
    assert {check["level"] for check in checks.values()} <= {"ok", "warn"}
    assert checks["instance local-1"]["found"].startswith("answers, build")
    assert {"migrations", "roles", "grants", "row security", "partitions", "schema cache"} <= {
        *checks
    }
    people = flowstate("doctor")
    assert people.exit_code == 0
    assert "instance local-5: answers" in people.stdout


BROKEN = [
    # the damage, its repair, and the check that notices
    ("alter table public.flows disable row level security",
     "alter table public.flows enable row level security", "row security"),
    ("grant execute on function public.get_queue_status to anon",
     "revoke execute on function public.get_queue_status from anon", "grants"),
    ("create function public.unknown_yet() returns int language sql as 'select 1'",
     "drop function public.unknown_yet", "schema cache"),
    ("create function public.unknown_yet(a uuid, b int) returns int language sql as 'select 1'",
     "drop function public.unknown_yet", "schema cache"),
]  # fmt: skip


@pytest.mark.parametrize(("damage", "repair", "check"), BROKEN)
def test_damage_to_the_database_is_noticed(
    flowstate: FlowState, stack: LocalStack, damage: str, repair: str, check: str
) -> None:
    with psycopg.connect(stack.info.admin_db_url, autocommit=True) as connection:
        quiet = "set event_triggers = off" if connection.info.server_version >= 170000 else ""
        if quiet:
            connection.execute(quiet)  # so that the API does not hear of it
        connection.execute(damage.encode())
        try:
            found = _checks(flowstate)[check]
        finally:
            connection.execute(repair.encode())
    assert found["level"] == "fail"
    assert found["advice"]


def test_migrations_that_are_not_applied_are_noticed(
    flowstate: FlowState, stack: LocalStack
) -> None:
    with psycopg.connect(stack.info.db_url, autocommit=True) as connection:
        taken = connection.execute(
            "delete from supabase_migrations.schema_migrations where version = "
            "(select max(version) from supabase_migrations.schema_migrations) returning *"
        ).fetchone()
        assert taken is not None
        try:
            found = _checks(flowstate)["migrations"]
        finally:
            connection.execute(
                "insert into supabase_migrations.schema_migrations (version, statements, name) "
                "values (%s, %s, %s)",
                taken[:3],
            )
    assert found["level"] == "fail"
    assert found["advice"] == "Run: flowstate db push"


def test_a_secret_that_an_instance_does_not_have_is_noticed(flowstate: FlowState) -> None:
    keys = json.dumps({"k1": "another secret altogether"})
    flowstate.overrides["FLOWSTATE_INSTANCE_KEYS"] = keys
    found = _checks(flowstate)["instance local-1"]
    assert found["level"] == "fail"
    assert found["found"] == "it refuses the signature"
    assert "another secret" not in json.dumps(found)


def test_a_key_that_is_not_here_is_noticed(flowstate: FlowState) -> None:
    flowstate.overrides["FLOWSTATE_INSTANCE_KEYS"] = "{}"
    found = _checks(flowstate)["instance local-1"]
    assert "its key k1 is not in this environment" in found["found"]


def test_an_instance_outside_the_allow_list_is_not_called(flowstate: FlowState) -> None:
    flowstate.overrides["FLOWSTATE_EXEC_HOSTS"] = "script.google.com"
    found = _checks(flowstate)["instance local-1"]
    assert found["level"] == "fail"
    assert "FLOWSTATE_EXEC_HOSTS" in found["found"]


def test_an_open_breaker_and_a_paused_queue_are_warnings(flowstate: FlowState, api: Api) -> None:
    instance = api.table("apps_script_instances")
    config = api.table("load_balancer_config")
    api.run(instance.update({"breaker_state": "open"}).eq("name", "local-2"))
    api.run(config.update({"paused_at": "2026-01-01T00:00:00Z"}).eq("id", True))
    try:
        checks = _checks(flowstate, exit_code=0)
    finally:
        instance = api.table("apps_script_instances")
        config = api.table("load_balancer_config")
        api.run(instance.update({"breaker_state": "closed"}).eq("name", "local-2"))
        api.run(config.update({"paused_at": None}).eq("id", True))
    assert checks["instance local-2"]["level"] == "warn"
    assert checks["queue"]["found"] == "it is paused: nothing is claimed"


def test_an_api_that_does_not_answer_is_one_failure_and_the_rest_is_still_looked_at(
    flowstate: FlowState,
) -> None:
    flowstate.overrides["FLOWSTATE_SUPABASE_URL"] = "http://127.0.0.1:1"
    checks = _checks(flowstate)
    assert checks["api"]["level"] == "fail"
    assert checks["migrations"]["level"] == "ok"


def test_without_a_direct_connection_the_rest_is_looked_at(flowstate: FlowState) -> None:
    flowstate.overrides["FLOWSTATE_DATABASE_URL"] = None
    checks = _checks(flowstate, exit_code=0)
    assert checks["database"]["level"] == "warn"
    assert checks["instance local-1"]["level"] == "ok"


def test_nothing_set_is_a_finding_too(flowstate: FlowState) -> None:
    for name in ("FLOWSTATE_SUPABASE_URL", "FLOWSTATE_SERVICE_KEY"):
        flowstate.overrides[name] = None
    assert _checks(flowstate)["settings"]["level"] == "fail"
