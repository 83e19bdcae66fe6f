"""A connection to Google: stored sealed, read by the service, seen and ended by its user."""

from __future__ import annotations

import uuid

import psycopg
import pytest

from flowstate_worker.rules.sealing import Kind
from tests.sql.driver import QueueDriver, Row
from tests.sql.google import ACCESS, REFRESH, RING, Connections

STORE = (
    "select public.store_google_tokens(%(user_id)s, %(key_id)s, %(refresh)s, %(access)s,"
    " %(expires)s, %(scopes)s)"
)


@pytest.fixture
def google(queue: QueueDriver) -> Connections:
    queue.do("truncate private.google_tokens")
    return Connections(queue)


def activity(google: Connections, user_id: str) -> list[Row]:
    return google.queue.rows(
        "select action, object_type, details from public.user_activity_logs where user_id = %s"
        " and action like 'google.%%' order by occurred_at",
        user_id,
    )


def test_what_is_stored_opens_with_the_key_and_is_not_readable(google: Connections) -> None:
    user = google.connect()
    row = google.row(user)
    assert (row["status"], row["key_id"], row["version"]) == ("active", "k1", 1)
    assert REFRESH not in str(row)
    assert ACCESS not in str(row)
    [got] = google.get(user)
    owner = uuid.UUID(user)
    assert RING.open(got["sealed_access_token"], owner, Kind.ACCESS, got["key_id"]) == ACCESS
    assert RING.open(row["sealed_refresh_token"], owner, Kind.REFRESH, row["key_id"]) == REFRESH


def test_reading_never_brings_a_refresh_token(google: Connections) -> None:
    [got] = google.get(google.connect())
    assert "sealed_refresh_token" not in got


def test_a_connection_without_an_access_token_is_due_at_once(google: Connections) -> None:
    user = google.connect(expires_in=None)
    [got] = google.get(user)
    assert (got["sealed_access_token"], got["expires_in_seconds"]) == (None, None)
    assert len(google.claim()) == 1


def test_the_time_that_is_left_is_the_databases(google: Connections) -> None:
    user = google.connect(expires_in=100)
    [got] = google.get(user)
    assert 90 <= got["expires_in_seconds"] <= 100
    google.set(user, "access_expires_at = clock_timestamp() - interval '10 seconds'")
    [got] = google.get(user)
    assert got["expires_in_seconds"] < 0


def test_storing_again_replaces_everything_and_ends_a_lease(google: Connections) -> None:
    user = google.connect(expires_in=10)
    assert len(google.claim()) == 1
    first = google.row(user)
    google.connect(user)
    row = google.row(user)
    assert row["version"] == first["version"] + 1
    assert row["sealed_refresh_token"] != first["sealed_refresh_token"]
    assert (row["refresh_lease_token"], row["refresher_id"]) == (None, None)


def test_connecting_and_disconnecting_stand_in_the_trail(google: Connections) -> None:
    user = google.connect()
    google.connect(user)
    with google.queue.acting_as("authenticated", user):
        google.queue.value("select public.disconnect_my_google()")
    assert [(row["action"], row["details"]) for row in activity(google, user)] == [
        ("google.connected", {"scopes": ["openid"], "replaced": False}),
        ("google.connected", {"scopes": ["openid"], "replaced": True}),
        ("google.disconnected", {}),
    ]
    assert {row["object_type"] for row in activity(google, user)} == {"google_token"}


BAD: list[tuple[Row, str, str]] = [
    ({"key_id": "no blanks"}, "PT400", "key_id must be"),
    ({"key_id": None}, "PT400", "key_id must be"),
    ({"refresh": REFRESH}, "PT400", "sealed_refresh_token must be a sealed token"),
    ({"refresh": None}, "PT400", "sealed_refresh_token must be a sealed token"),
    ({"refresh": "A" * 5000}, "PT400", "sealed_refresh_token must be a sealed token"),
    ({"access": ACCESS}, "PT400", "sealed_access_token must be a sealed token"),
    ({"expires": None}, "PT400", "expires_in_seconds must come with"),
    ({"access": None}, "PT400", "expires_in_seconds must come with"),
    ({"expires": 0}, "PT400", "expires_in_seconds must be an integer"),
    ({"scopes": None}, "PT400", "scopes must be"),
    ({"scopes": ["CANARY with blanks"]}, "PT400", "scopes must be"),
    ({"scopes": ["x"] * 101}, "PT400", "scopes must be"),
    ({"user_id": None}, "PT404", "user_id: there is no user"),
    ({"user_id": "00000000-0000-4000-8000-000000000000"}, "PT404", "user_id: there is no user"),
]


@pytest.mark.parametrize(("change", "state", "says"), BAD)
def test_what_cannot_be_right_is_refused_by_field_and_without_its_value(
    google: Connections, change: Row, state: str, says: str
) -> None:
    user = google.user()
    owner = uuid.UUID(user)
    good = {
        "user_id": user,
        "key_id": "k1",
        "refresh": RING.seal(REFRESH, owner, Kind.REFRESH),
        "access": RING.seal(ACCESS, owner, Kind.ACCESS),
        "expires": 3599,
        "scopes": ["openid"],
    }
    with pytest.raises(psycopg.Error) as refused:
        google.queue.connection.execute(STORE.encode(), {**good, **change})
    assert refused.value.sqlstate == state
    told = f"{refused.value.diag.message_primary}{refused.value.diag.message_detail}"
    assert says in told
    assert "CANARY" not in told
    assert google.queue.rows("select * from private.google_tokens") == []


def test_the_table_itself_holds_no_readable_token(google: Connections) -> None:
    user = google.connect()
    for column in ("sealed_refresh_token", "sealed_access_token"):
        for readable in (REFRESH, ACCESS):
            with pytest.raises(psycopg.errors.CheckViolation):
                google.set(user, f"{column} = '{readable}{'x' * 60}'")


def test_who_is_being_deleted_connects_no_more(google: Connections) -> None:
    user = google.user()
    google.queue.do(
        "update public.user_profiles set deletion_requested_at = now() where user_id = %s", user
    )
    with pytest.raises(psycopg.Error) as refused:
        google.connect(user)
    assert refused.value.sqlstate == "PT409"


def test_who_is_deleted_leaves_nothing(google: Connections) -> None:
    user = google.connect()
    google.queue.do("delete from auth.users where id = %s", user)
    assert google.queue.rows("select * from private.google_tokens") == []


def test_use_is_noted_once_a_minute(google: Connections) -> None:
    user = google.connect()
    before = google.row(user)["last_used_at"]
    google.get(user)
    assert google.row(user)["last_used_at"] == before
    google.set(user, "last_used_at = last_used_at - interval '2 minutes'")
    google.get(user)
    assert google.row(user)["last_used_at"] > before


@pytest.mark.parametrize(
    "ids", ["null", "array(select gen_random_uuid() from generate_series(1, 1001))"]
)
def test_a_list_that_is_missing_or_too_long_is_refused(google: Connections, ids: str) -> None:
    with pytest.raises(psycopg.Error) as refused:
        google.queue.do(f"select * from public.get_google_tokens({ids})")
    assert refused.value.sqlstate == "PT400"


def my_connection(google: Connections, user: str) -> Row:
    with google.queue.acting_as("authenticated", user):
        found = google.queue.value("select public.get_my_google_connection()")
    assert isinstance(found, dict)
    return found


def test_a_user_sees_their_own_connection_and_nothing_of_its_content(google: Connections) -> None:
    user, other = google.connect(), google.user()
    found = my_connection(google, user)
    assert (found["status"], found["scopes"], found["advice"]) == ("active", ["openid"], None)
    assert set(found) == {"status", "scopes", "connected_at", "last_used_at", "advice"}
    assert my_connection(google, other)["status"] == "none"
    assert "Connect" in my_connection(google, other)["advice"]


def test_a_user_ends_their_own_connection_only(google: Connections) -> None:
    user, other = google.connect(), google.connect()
    with google.queue.acting_as("authenticated", user):
        ended = google.queue.value("select public.disconnect_my_google()")
        again = google.queue.value("select public.disconnect_my_google()")
    assert (ended["disconnected"], again["disconnected"]) == (True, False)
    assert "myaccount.google.com" in ended["advice"]
    assert my_connection(google, user)["status"] == "none"
    assert my_connection(google, other)["status"] == "active"


def test_the_operator_gets_the_sealed_token_once_more_to_end_the_grant(google: Connections) -> None:
    user = google.connect()
    call = "select public.disconnect_google(%s)"
    ended = google.queue.value(call, user)
    assert ended["disconnected"] is True
    opened = RING.open(
        ended["sealed_refresh_token"], uuid.UUID(user), Kind.REFRESH, ended["key_id"]
    )
    assert opened == REFRESH
    again = google.queue.value(call, user)
    assert again == {"disconnected": False, "key_id": None, "sealed_refresh_token": None}


@pytest.mark.parametrize("function", ["get_my_google_connection", "disconnect_my_google"])
def test_nobody_signed_in_is_told_so(google: Connections, function: str) -> None:
    with (
        pytest.raises(psycopg.Error) as refused,
        google.queue.acting_as("authenticated"),
    ):
        google.queue.value(f"select public.{function}()")
    assert refused.value.sqlstate == "PT401"


@pytest.mark.parametrize(
    "statement",
    [
        "select * from private.google_tokens",
        "select public.store_google_tokens(gen_random_uuid(), 'k', 'x')",
        "select public.get_google_tokens('{}')",
        "select public.disconnect_google(gen_random_uuid())",
        "select public.claim_google_token_refreshes('r', 1)",
        "select public.finish_google_token_refreshes('[]')",
        "select public.claim_google_tokens_to_reseal('k', 1)",
        "select public.finish_google_token_reseals('[]')",
        "select public.get_google_token_keys()",
        "select public.get_google_token_status()",
        "select private.forget_google(gen_random_uuid())",
    ],
)
@pytest.mark.parametrize("role", ["anon", "authenticated"])
def test_tokens_are_out_of_reach_for_everybody_but_the_service(
    google: Connections, role: str, statement: str
) -> None:
    user = google.connect()
    with (
        pytest.raises(psycopg.errors.InsufficientPrivilege),
        google.queue.acting_as(role, user if role == "authenticated" else None),
    ):
        google.queue.do(statement)


def test_even_the_service_reaches_no_row_but_through_functions(google: Connections) -> None:
    with (
        pytest.raises(psycopg.errors.InsufficientPrivilege),
        google.queue.acting_as("service_role"),
    ):
        google.queue.do("select * from private.google_tokens")
