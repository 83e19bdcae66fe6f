"""Nobody sees or changes another user's rows; nothing is open by default. Driven by the catalog."""

from __future__ import annotations

import psycopg
import pytest

from tests.sql.driver import QueueDriver, result

USER_VERBS = {
    "cancel_flow_execution",
    "clear_user_override",
    "delete_user",
    "enqueue_flow_execution",
    "export_user_data",
    "get_flow_execution_status",
    "get_my_usage",
    "get_usage_by_tier",
    "get_user",
    "get_user_activity",
    "get_user_executions",
    "has_permission",
    "list_users",
    "remove_tier",
    "resume_user",
    "revoke_all_sessions",
    "revoke_session",
    "set_tier",
    "set_user_override",
    "set_user_role",
    "set_user_tier",
    "suspend_user",
    "validate_flow_definition",
    "verify_activity",
}

# Every table and view of the API, and what a signed-in user may do with it.
# A new object must be entered here.
USER_GRANTS = {
    "apps_script_instances": set[str](),
    "apps_script_owners": set[str](),
    "dead_letters": {"SELECT"},
    "error_reports": {"SELECT"},
    "execution_logs": {"SELECT"},
    "flow_execution_queue": {"SELECT"},
    "flow_executions": {"SELECT"},
    "flow_schedules": {"SELECT", "INSERT", "UPDATE", "DELETE"},
    "flow_versions": {"SELECT"},
    "flows": {"SELECT", "INSERT", "UPDATE", "DELETE"},
    "instance_health_status": set[str](),
    "load_balancer_config": set[str](),
    "performance_metrics": set[str](),
    "queue_processors": set[str](),
    "rate_limit_tracking": {"SELECT"},
    "role_permissions": {"SELECT"},
    "subscription_tiers": {"SELECT"},
    "system_health_checks": set[str](),
    "user_activity_logs": {"SELECT"},
    "user_limit_overrides": {"SELECT"},
    "user_profiles": {"SELECT"},
    "user_sessions": {"SELECT"},
}

RELATIONS = """
select c.oid, n.nspname as schema, c.relname as name, c.relkind as kind,
       c.relrowsecurity as secured, coalesce(c.reloptions, '{}') as options
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
 where n.nspname in ('public', 'private', 'partitions') and c.relkind in ('r', 'p', 'v', 'm')
"""

FUNCTIONS = """
select p.oid, n.nspname as schema, p.proname as name, p.prosecdef as definer,
       coalesce(array_to_string(p.proconfig, ','), '') as config,
       has_function_privilege('anon', p.oid, 'execute') as anon,
       has_function_privilege('authenticated', p.oid, 'execute') as authenticated
  from pg_proc p join pg_namespace n on n.oid = p.pronamespace
 where n.nspname in ('public', 'private')
"""


def test_row_security_is_on_for_every_table_and_partition(queue: QueueDriver) -> None:
    unsecured = [
        f"{r['schema']}.{r['name']}"
        for r in queue.rows(RELATIONS)
        if r["kind"] in ("r", "p") and not r["secured"]
    ]
    assert unsecured == []


def test_every_view_runs_as_its_caller(queue: QueueDriver) -> None:
    views = [r for r in queue.rows(RELATIONS) if r["kind"] in ("v", "m")]
    assert [v["name"] for v in views if "security_invoker=true" not in v["options"]] == []


def test_users_hold_exactly_the_grants_that_are_written_down(queue: QueueDriver) -> None:
    verbs = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
    column_verbs = {"INSERT", "UPDATE", "SELECT", "REFERENCES"}
    found: dict[str, set[str]] = {}
    for relation in queue.rows(RELATIONS + " and n.nspname = 'public'"):
        held = set()
        for verb in verbs:
            check = "has_any_column_privilege" if verb in column_verbs else "has_table_privilege"
            assert not queue.value(f"select {check}('anon', %s::oid, %s)", relation["oid"], verb)
            if queue.value(f"select {check}('authenticated', %s::oid, %s)", relation["oid"], verb):
                held.add(verb)
        found[relation["name"]] = held
    assert found == USER_GRANTS


@pytest.mark.parametrize("schema", ["private", "partitions"])
@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role"])
def test_internal_schemas_are_closed(queue: QueueDriver, schema: str, role: str) -> None:
    assert not queue.value("select has_schema_privilege(%s, %s, 'usage')", role, schema)


def test_functions_are_closed_unless_they_are_for_users(queue: QueueDriver) -> None:
    functions = queue.rows(FUNCTIONS)
    assert {f["name"] for f in functions if f["anon"]} == set()
    assert {f["name"] for f in functions if f["authenticated"]} == USER_VERBS


def test_every_function_pins_its_search_path(queue: QueueDriver) -> None:
    loose = [f["name"] for f in queue.rows(FUNCTIONS) if 'search_path=""' not in f["config"]]
    assert loose == []


def test_every_object_of_the_api_carries_a_comment(queue: QueueDriver) -> None:
    bare = [
        r["name"]
        for r in queue.rows(RELATIONS)
        if r["schema"] != "partitions"
        and not queue.value("select obj_description(%s::oid, 'pg_class')", r["oid"])
    ] + [
        f["name"]
        for f in queue.rows(FUNCTIONS)
        if not queue.value("select obj_description(%s::oid, 'pg_proc')", f["oid"])
    ]
    assert bare == []


OWNED = (
    "user_profiles",
    "flows",
    "flow_versions",
    "flow_execution_queue",
    "flow_executions",
    "execution_logs",
    "rate_limit_tracking",
    "dead_letters",
)


def test_a_user_sees_their_own_rows_and_nobody_elses(queue: QueueDriver) -> None:
    queue.instances(1)
    users = [queue.user("pro"), queue.user("pro")]
    for user in users:
        for outcome in ("succeeded", "failed"):
            queue.enqueue(user)
            [claimed] = queue.claim()
            queue.finish(result(claimed, outcome, retry=False))
    for user in users:
        queue.enqueue(user)
    for user in users:
        with queue.acting_as("authenticated", user.id):
            for table in OWNED:
                owners = {
                    str(r["user_id"]) for r in queue.rows(f"select user_id from public.{table}")
                }
                assert owners == {user.id}, table


@pytest.mark.parametrize(
    "statement",
    [
        "update public.user_profiles set tier = 'enterprise'",
        "update public.user_profiles set role = 'owner'",
        "update public.subscription_tiers set hour_limit = 1000000",
        "delete from public.rate_limit_tracking",
        "update public.flow_execution_queue set priority = 100",
        "update public.flows set version = 99",
        "select * from public.apps_script_instances",
        "select * from private.user_queue",
        "select * from partitions.execution_logs_default",
        "select public.claim_flow_executions('p', 1, 30)",
        "select public.finish_flow_executions('[]')",
        "select public.enqueue_flow_executions('[]')",
        "select public.rescue_expired_executions()",
        "select public.maintain_queue()",
        "select public.get_queue_status()",
    ],
)
def test_a_user_is_refused_what_is_not_theirs_to_do(queue: QueueDriver, statement: str) -> None:
    user = queue.user()
    with (
        pytest.raises(psycopg.errors.InsufficientPrivilege),
        queue.acting_as("authenticated", user.id),
    ):
        queue.do(statement)


def test_a_user_cannot_make_a_flow_for_somebody_else(queue: QueueDriver) -> None:
    user, other = queue.user(), queue.user()
    with (
        pytest.raises(psycopg.errors.InsufficientPrivilege),
        queue.acting_as("authenticated", user.id),
    ):
        queue.flow(other.id)


def test_a_users_change_of_a_foreign_flow_changes_nothing(queue: QueueDriver) -> None:
    user, other = queue.user(), queue.user()
    with queue.acting_as("authenticated", user.id):
        queue.do("update public.flows set is_enabled = false where id = %s", other.flow_id)
        queue.do("delete from public.flows where id = %s", other.flow_id)
    assert queue.value("select is_enabled from public.flows where id = %s", other.flow_id) is True


def test_a_user_hears_only_their_own_channel(queue: QueueDriver) -> None:
    user, other = queue.user(), queue.user()

    def heard(topic: str) -> int:
        with queue.acting_as("authenticated", user.id):
            queue.do("select set_config('realtime.topic', %s, true)", topic)
            count = queue.value("select count(*) from realtime.messages where topic = %s", topic)
        assert isinstance(count, int)
        return count

    for topic in (f"user:{user.id}", f"user:{other.id}", "flowstate:queue"):
        queue.do("select realtime.send('{}', 'x', %s, true)", topic)
    assert heard(f"user:{user.id}") == 1
    assert heard(f"user:{other.id}") == 0
    assert heard("flowstate:queue") == 0
