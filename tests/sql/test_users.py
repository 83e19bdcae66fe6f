"""Staff and users: who may change what about whom, and that a change acts at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.sql.driver import QueueDriver, Row, User

NOBODY = "00000000-0000-0000-0000-00000000dead"


@pytest.fixture
def people(queue: QueueDriver) -> Iterator[QueueDriver]:
    """No staff and no exceptions of earlier tests; tiers as they were made."""
    tiers = queue.rows("select tier from public.subscription_tiers")
    _no_staff(queue)
    yield queue
    _no_staff(queue)
    queue.do("update public.user_profiles set tier = 'free' where tier <> 'free'")
    queue.do(
        "delete from public.subscription_tiers where tier <> all (%s)",
        [row["tier"] for row in tiers],
    )


def _no_staff(queue: QueueDriver) -> None:
    queue.do("delete from public.user_limit_overrides")
    queue.do("alter table public.user_profiles disable trigger keep_an_owner")
    queue.do("update public.user_profiles set role = 'user' where role <> 'user'")
    queue.do("alter table public.user_profiles enable trigger keep_an_owner")


def staff(people: QueueDriver, role: str) -> User:
    user = people.user()
    people.do("update public.user_profiles set role = %s where user_id = %s", role, user.id)
    return user


def call(people: QueueDriver, by: User | None, function: str, *arguments: Any) -> Any:
    """As a person, or with the secret key."""
    given = [json.dumps(a) if isinstance(a, dict) else a for a in arguments]
    marks = ", ".join(["%s"] * len(given))
    with people.acting_as("authenticated" if by else "service_role", by.id if by else None):
        return people.value(f"select public.{function}({marks})", *given)


def refused(
    people: QueueDriver, state: str, by: User | None, function: str, *arguments: Any
) -> psycopg.Error:
    with pytest.raises(psycopg.Error) as caught:
        call(people, by, function, *arguments)
    assert caught.value.sqlstate == state, caught.value
    return caught.value


def profile(people: QueueDriver, user: User) -> Row:
    [row] = people.rows("select * from public.user_profiles where user_id = %s", user.id)
    return row


SOON = "2099-01-01T00:00:00Z"
ACTIONS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "set_user_tier": ("users.set_tier", ("pro",)),
    "set_user_role": ("users.set_role", ("support",)),
    "suspend_user": ("users.suspend", ("because",)),
    "resume_user": ("users.suspend", ()),
    "delete_user": ("users.delete", ("because",)),
    "export_user_data": ("users.export", ()),
    "get_user_executions": ("executions.read", ("because",)),
    "get_user_activity": ("activity.read", ("because",)),
    "revoke_all_sessions": ("sessions.revoke", ()),
}


@pytest.mark.parametrize("role", ["user", "support", "admin", "owner"])
@pytest.mark.parametrize("function", ACTIONS)
def test_a_role_may_do_what_its_permissions_say(
    people: QueueDriver, role: str, function: str
) -> None:
    permission, arguments = ACTIONS[function]
    actor, target = staff(people, role), people.user()
    staff(people, "owner")
    allowed = people.value(
        "select exists (select 1 from public.role_permissions where role = %s and permission = %s)",
        role,
        permission,
    )
    if allowed:
        call(people, actor, function, target.id, *arguments)
    else:
        refused(people, "PT403", actor, function, target.id, *arguments)


def test_a_suspended_member_of_staff_may_do_nothing(people: QueueDriver) -> None:
    admin, target = staff(people, "admin"), people.user()
    call(people, None, "suspend_user", admin.id, "left the company")
    refused(people, "PT403", admin, "set_user_tier", target.id, "pro")
    assert profile(people, target)["tier"] == "free"


def test_nobody_acts_on_somebody_above_them(people: QueueDriver) -> None:
    admin, owner = staff(people, "admin"), staff(people, "owner")
    staff(people, "owner")
    refused(people, "PT403", admin, "suspend_user", owner.id, "because")
    assert profile(people, owner)["suspended_at"] is None


def test_a_role_in_the_token_gives_nothing(people: QueueDriver) -> None:
    user = people.user()
    claims = {
        "role": "authenticated",
        "sub": user.id,
        "user_role": "owner",
        "user_metadata": {"role": "owner", "tier": "enterprise"},
        "app_metadata": {"role": "owner"},
    }
    with people.connection.transaction():
        people.do("select set_config('request.jwt.claims', %s, true)", json.dumps(claims))
        people.do("set local role authenticated")
        assert people.value("select public.has_permission('tiers.set')") is False


@pytest.mark.parametrize(
    "change",
    [
        ("set_user_role", "admin"),
        ("suspend_user", "because"),
        ("delete_user", "because"),
    ],
)
def test_the_last_owner_stays(people: QueueDriver, change: tuple[str, str]) -> None:
    owner = staff(people, "owner")
    suspended = staff(people, "owner")
    call(people, None, "suspend_user", suspended.id, "an owner who is away does not count")
    error = refused(people, "PT409", None, change[0], owner.id, change[1])
    assert "last owner" in str(error)
    found = profile(people, owner)
    assert (found["role"], found["suspended_at"], found["deletion_requested_at"]) == (
        "owner",
        None,
        None,
    )


def test_the_last_owner_is_not_deleted_through_the_sign_in_server_either(
    people: QueueDriver,
) -> None:
    owner = staff(people, "owner")
    with pytest.raises(psycopg.Error, match="last owner"), people.connection.transaction():
        people.do("delete from auth.users where id = %s", owner.id)
    assert profile(people, owner)["role"] == "owner"


def test_two_owners_cannot_remove_each_other_at_once(
    people: QueueDriver, database_url: str
) -> None:
    one, two = staff(people, "owner"), staff(people, "owner")
    demote = "update public.user_profiles set role = 'user' where user_id = %s"
    with psycopg.connect(database_url) as first, psycopg.connect(database_url) as second:
        first.execute(demote, (one.id,))
        second.execute("set lock_timeout = '200ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            second.execute(demote, (two.id,))
        second.rollback()
        first.commit()
        with pytest.raises(psycopg.Error, match="last owner"):
            second.execute(demote, (two.id,))


def test_a_new_tier_acts_on_the_next_call(people: QueueDriver) -> None:
    user = people.user("free")
    for _ in range(5):
        people.enqueue(user)
    with pytest.raises(psycopg.Error):
        people.enqueue(user)
    call(people, None, "set_user_tier", user.id, "pro")
    assert people.enqueue(user)["state"] == "available"


def test_a_suspended_user_reads_and_runs_nothing(people: QueueDriver) -> None:
    user = people.user("pro")
    people.instances(1)
    people.enqueue(user)
    [running] = people.claim()
    people.enqueue(user)
    answer = call(people, None, "suspend_user", user.id, "ticket 7")
    assert (answer["state"], answer["stopping"]) == ("suspended", 1)
    [beat] = people.rows("select * from public.heartbeat_flow_executions('p1', 30)")
    assert (beat["execution_id"], beat["cancel_requested"]) == (running["execution_id"], True)
    assert people.claim() == []
    with pytest.raises(psycopg.Error, match="suspended"):
        people.enqueue(user)
    with people.acting_as("authenticated", user.id):
        assert people.value("select count(*) from public.flow_execution_queue") == 2
    call(people, None, "resume_user", user.id)
    assert len(people.claim()) == 1


@pytest.mark.parametrize(
    ("function", "arguments", "state", "names"),
    [
        ("set_user_tier", ("platinum",), "PT400", "tier"),
        ("set_user_tier", (None,), "PT400", "tier"),
        ("set_user_role", ("king",), "PT400", "role"),
        ("suspend_user", ("",), "PT400", "reason"),
        ("suspend_user", ("x" * 501,), "PT400", "reason"),
        ("delete_user", (None,), "PT400", "reason"),
        ("clear_user_override", (), "PT404", "user_id"),
        ("set_user_override", ({"hour_limit": 9}, "2020-01-01", "why"), "PT400", "ends_at"),
        ("set_user_override", ({"hour_limit": 9}, None, "why"), "PT400", "ends_at"),
        ("set_user_override", ({"hour_limit": 9}, "infinity", "why"), "PT400", "ends_at"),
        ("set_user_override", ({"hour_limit": 9}, SOON, ""), "PT400", "ends_at"),
        ("set_user_override", ({"hour_limit": -1}, "2030-01-01", "w"), "PT400", "hour_limit"),
        ("set_user_override", ({"hour_limit": 10**9}, "2030-01-01", "w"), "PT400", "hour_limit"),
        ("set_user_override", ({"hour_limit": 1.5}, "2030-01-01", "w"), "PT400", "hour_limit"),
        ("set_user_override", ({"hour_limit": "9"}, "2030-01-01", "w"), "PT400", "hour_limit"),
        ("set_user_override", ({"weight": None}, "2030-01-01", "w"), "PT400", "weight"),
        ("set_user_override", ({"speed": 9}, "2030-01-01", "w"), "PT400", "speed"),
        ("set_user_override", ({}, "2030-01-01", "w"), "PT400", "limits"),
        ("set_user_override", ({"hour_limit": 9}, "2030-01-01", " "), "PT400", "reason"),
    ],
)
def test_bad_input_names_the_field_and_changes_nothing(
    people: QueueDriver, function: str, arguments: tuple[Any, ...], state: str, names: str
) -> None:
    user = people.user()
    before = profile(people, user)
    if arguments[:1] == ({"hour_limit": 9},) and arguments[-1] == "":
        state, names = "PT400", "reason"
    error = refused(people, state, None, function, user.id, *arguments)
    assert names in str(error)
    assert profile(people, user) == before
    assert people.value("select count(*) from public.user_limit_overrides") == 0


@pytest.mark.parametrize("function", [*ACTIONS, "set_user_tier"])
def test_an_unknown_user_is_not_found(people: QueueDriver, function: str) -> None:
    refused(people, "PT404", None, function, NOBODY, *ACTIONS[function][1])


def test_an_exception_holds_until_its_end(people: QueueDriver) -> None:
    user = people.user("free")
    answer = call(
        people,
        None,
        "set_user_override",
        user.id,
        {"hour_limit": 6, "day_limit": None, "max_running": 3},
        "2030-01-01",
        "trial",
    )
    assert answer["limits"] == {
        "hour_limit": 6,
        "day_limit": None,
        "month_limit": None,
        "weight": 1,
        "max_running": 3,
    }
    people.do("update public.user_limit_overrides set ends_at = now() - interval '1 second'")
    limits = people.rows("select * from private.effective_limits where user_id = %s", user.id)
    assert (limits[0]["hour_limit"], limits[0]["day_limit"]) == (5, 20)


@pytest.mark.parametrize(
    ("tier", "limits", "names"),
    [
        ("Gold!", {"hour_limit": 5}, "tier"),
        ("gold", {"hour_limit": 0}, "hour_limit"),
        ("gold", {"hour_limit": 50, "day_limit": 20}, "contradict"),
        ("free", {"day_limit": 3}, "contradict"),
        ("gold", {"log_retention_days": 0}, "log_retention_days"),
        ("gold", {"context_limit_bytes": -1}, "context_limit_bytes"),
        ("gold", {"color": 1}, "color"),
        ("gold", {}, "limits"),
    ],
)
def test_absurd_tiers_are_refused(
    people: QueueDriver, tier: str, limits: dict[str, Any], names: str
) -> None:
    before = people.rows("select * from public.subscription_tiers order by tier")
    assert names in str(refused(people, "PT400", None, "set_tier", tier, limits))
    assert people.rows("select * from public.subscription_tiers order by tier") == before


def test_a_tier_is_made_changed_and_removed(people: QueueDriver) -> None:
    owner, user = staff(people, "owner"), people.user()
    made = call(people, owner, "set_tier", "gold", {"hour_limit": 50, "day_limit": 400})
    assert (made["hour_limit"], made["max_running"]) == (50, 1)
    call(people, owner, "set_user_tier", user.id, "gold")
    changed = call(people, owner, "set_tier", "gold", {"max_running": 9, "month_limit": 5000})
    assert (changed["hour_limit"], changed["max_running"]) == (50, 9)
    assert "gold is in use, users on it: 1" in str(
        refused(people, "PT409", owner, "remove_tier", "gold")
    )
    call(people, owner, "set_user_tier", user.id, "free")
    assert call(people, owner, "remove_tier", "gold")["removed"] is True
    refused(people, "PT404", owner, "remove_tier", "gold")
    refused(people, "PT409", owner, "remove_tier", "free")


def test_what_staff_does_is_in_the_trail_with_the_reason(people: QueueDriver) -> None:
    owner, user = staff(people, "owner"), people.user()
    call(people, owner, "set_user_tier", user.id, "pro", "ticket 12")
    [entry] = people.rows(
        "select * from public.user_activity_logs where user_id = %s and action = 'user.changed'"
        " and actor_id is not null",
        user.id,
    )
    assert (str(entry["actor_id"]), entry["actor"]) == (owner.id, "owner")
    assert entry["details"] == {
        "before": {"tier": "free"},
        "after": {"tier": "pro"},
        "reason": "ticket 12",
    }


def test_support_reads_with_a_reason_and_leaves_a_line(people: QueueDriver) -> None:
    support, user = staff(people, "support"), people.user()
    people.instances(1)
    people.enqueue(user, input={"secret": "payslip"})
    with people.acting_as("authenticated", support.id):
        assert people.rows("select * from public.flow_execution_queue") == []
    refused(people, "PT400", support, "get_user_executions", user.id, " ")
    with people.acting_as("authenticated", support.id):
        rows = people.rows("select * from public.get_user_executions(%s, 'ticket 3')", user.id)
    assert [row["state"] for row in rows] == ["available"]
    assert "payslip" not in str(rows)
    with people.acting_as("authenticated", user.id):
        [line] = people.rows(
            "select * from public.user_activity_logs where action = 'user.executions_read'"
        )
    assert (line["actor"], line["details"]) == ("support", {"reason": "ticket 3"})


def test_users_are_listed_page_by_page_and_found_by_address(people: QueueDriver) -> None:
    support = staff(people, "support")
    ids = sorted(people.user().id for _ in range(3))
    with people.acting_as("authenticated", support.id):
        everyone = people.value("select public.list_users(max => 1000)")
        listed = [row["user_id"] for row in everyone]
        assert listed == sorted(listed)
        [second] = people.value(
            "select public.list_users(after => %s, max => 1)",
            listed[listed.index(ids[0])],
        )
        assert second["user_id"] == listed[listed.index(ids[0]) + 1]
        for search in (ids[1], f" {ids[1].upper()}@X.test "):
            found = people.value("select public.list_users(search => %s)", search)
            assert [row["user_id"] for row in found] == [ids[1]]
        assert people.value("select public.list_users(search => '%%')") == []
    with pytest.raises(psycopg.Error) as caught, people.acting_as("authenticated", ids[0]):
        people.value("select public.list_users()")
    assert caught.value.sqlstate == "PT403"
