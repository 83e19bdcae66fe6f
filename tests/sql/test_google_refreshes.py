"""Refreshing ahead: whose token is taken, by one refresher at a time, and what comes of it."""

from __future__ import annotations

import threading
import uuid

import psycopg
import pytest

from flowstate_worker.rules.sealing import Kind
from tests.sql.driver import QueueDriver, Row
from tests.sql.google import ACCESS, RING, Connections, ids, lease, refreshed

UNUSED = "last_used_at = clock_timestamp() - interval '3 days'"


@pytest.fixture
def google(queue: QueueDriver) -> Connections:
    queue.do("truncate private.google_tokens")
    queue.do("delete from public.flow_schedules")
    return Connections(queue)


# -- whose token -----------------------------------------------------------------------------


def test_a_token_is_taken_once_it_expires_within_the_lead(google: Connections) -> None:
    soon, later = google.connect(expires_in=500), google.connect(expires_in=700)
    assert ids(google.claim(lead=400)) == set()
    assert ids(google.claim(lead=600)) == {soon}
    assert ids(google.claim(lead=800)) == {later}


def test_what_is_taken_comes_with_its_seal_and_a_lease(google: Connections) -> None:
    user = google.connect(expires_in=1)
    [claimed] = google.claim()
    row = google.row(user)
    assert claimed["sealed_refresh_token"] == row["sealed_refresh_token"]
    assert (claimed["key_id"], claimed["lease_token"]) == ("k1", row["refresh_lease_token"])
    assert row["refresher_id"] == "r"


def test_the_most_urgent_come_first_and_no_more_than_asked_for(google: Connections) -> None:
    users = [google.connect(expires_in=n) for n in (300, 100, 200)]
    assert [str(row["user_id"]) for row in google.claim(1)] == [users[1]]
    assert [str(row["user_id"]) for row in google.claim(1)] == [users[2]]


def test_a_token_of_a_lease_is_taken_again_only_when_that_has_ended(google: Connections) -> None:
    user = google.connect(expires_in=1)
    [first] = google.claim()
    assert google.claim() == []
    assert google.claim(1, 600, user) == []
    google.set(user, "refresh_lease_until = clock_timestamp()")
    [second] = google.claim()
    assert second["lease_token"] != first["lease_token"]
    assert google.finish(refreshed(first))[0]["answer"] == "lease_lost"
    assert google.finish(refreshed(second))[0]["answer"] == "accepted"


def test_two_refreshers_at_once_take_disjoint_tokens(google: Connections) -> None:
    users = {google.connect(expires_in=1) for _ in range(40)}
    barrier, taken = threading.Barrier(4), list[str]()

    def refresher() -> None:
        driver = QueueDriver(google.queue.url)
        mine = Connections(driver)
        barrier.wait()
        for _ in range(10):
            taken.extend(str(row["user_id"]) for row in mine.claim(3))
        driver.close()

    threads = [threading.Thread(target=refresher) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == len(set(taken))
    assert set(taken) == users


def test_a_claim_passes_by_what_another_holds_at_this_moment(google: Connections) -> None:
    held, free = google.connect(expires_in=1), google.connect(expires_in=2)
    other = psycopg.connect(google.queue.url)
    other.execute("select 1 from private.google_tokens where user_id = %s for update", (held,))
    try:
        assert ids(google.claim()) == {free}
        assert ids(google.claim(1, 600, held)) == set()
    finally:
        other.close()


# -- who is refreshed ahead ------------------------------------------------------------------


def test_who_has_not_used_it_for_long_is_left_at_rest(google: Connections) -> None:
    user = google.connect(expires_in=1)
    google.set(user, UNUSED)
    assert google.claim() == []
    rest = google.queue.value(
        "select extract(epoch from next_refresh_at - clock_timestamp()) / 3600"
        " from private.google_tokens where user_id = %s",
        user,
    )
    assert 17 < rest < 18.1, "a quarter of three days"


def test_the_rest_is_bounded_and_who_rests_is_not_looked_at(google: Connections) -> None:
    users = [google.connect(expires_in=1) for _ in range(3)]
    for user in users:
        google.set(user, "last_used_at = clock_timestamp() - interval '1 year'")
    assert google.claim() == []
    assert google.queue.value(
        "select max(next_refresh_at) < clock_timestamp() + interval '25 hours'"
        " and min(next_refresh_at) > clock_timestamp() + interval '23 hours'"
        " from private.google_tokens"
    )
    before = google.row(users[0])
    assert google.claim() == []
    assert google.row(users[0]) == before


def test_who_rests_stands_in_nobodys_way(google: Connections) -> None:
    for n in range(5):
        google.set(google.connect(expires_in=n + 1), UNUSED)
    active = google.connect(expires_in=60)
    assert ids(google.claim(1)) | ids(google.claim(1)) == {active}


def test_a_live_execution_wakes_it(google: Connections) -> None:
    user = google.queue.user("pro")
    google.connect(user.id, expires_in=1)
    google.set(user.id, UNUSED)
    google.queue.enqueue(user)
    assert ids(google.claim()) == {user.id}


def test_a_schedule_wakes_it_in_time_for_its_run(google: Connections) -> None:
    user = google.queue.user("pro")
    google.connect(user.id, expires_in=1)
    google.set(user.id, UNUSED)
    google.queue.do(
        "insert into public.flow_schedules (user_id, flow_id, kind, cron, next_run_at)"
        " values (%s, %s, 'cron', '0 * * * *', clock_timestamp() + interval '1 hour')",
        user.id,
        user.flow_id,
    )
    assert google.claim(lead=600) == []
    assert google.queue.value(
        "select t.next_refresh_at = s.next_run_at"
        " from private.google_tokens t, public.flow_schedules s"
    )
    assert ids(google.claim(lead=3600)) == {user.id}


def test_a_paused_schedule_wakes_nobody(google: Connections) -> None:
    user = google.queue.user("pro")
    google.connect(user.id, expires_in=1)
    google.set(user.id, UNUSED)
    google.queue.do(
        "insert into public.flow_schedules (user_id, flow_id, kind, next_run_at, paused_at)"
        " values (%s, %s, 'once', clock_timestamp(), clock_timestamp())",
        user.id,
        user.flow_id,
    )
    assert google.claim() == []


def test_who_rests_is_refreshed_as_soon_as_it_is_asked_for(google: Connections) -> None:
    user = google.connect(expires_in=1)
    google.set(user, UNUSED)
    assert google.claim() == []
    assert ids(google.claim(10, 60, user)) == {user}


def test_use_ends_the_rest(google: Connections) -> None:
    user = google.connect(expires_in=1)
    google.set(user, UNUSED)
    assert google.claim() == []
    google.get(user)
    assert ids(google.claim()) == {user}


def test_only_those_that_are_named_are_taken_and_only_if_they_expire(google: Connections) -> None:
    named, fresh, other = (google.connect(expires_in=n) for n in (10, 3599, 10))
    assert ids(google.claim(10, 60, named, fresh)) == {named}
    assert ids(google.claim(10, 60)) == {other}


@pytest.mark.parametrize("state", ["suspended_at", "deletion_requested_at"])
def test_nothing_is_refreshed_for_who_is_suspended_or_leaving(
    google: Connections, state: str
) -> None:
    user = google.connect(expires_in=1)
    google.queue.do(f"update public.user_profiles set {state} = now() where user_id = %s", user)
    assert google.claim(10, 60, user) == []
    assert google.claim() == []
    assert google.row(user)["next_refresh_at"] > google.row(user)["access_expires_at"]


# -- what an outcome leads to ----------------------------------------------------------------


def test_a_refreshed_token_replaces_the_old_one(google: Connections) -> None:
    user = google.connect(expires_in=1)
    before = google.row(user)
    [claimed] = google.claim()
    assert google.finish(refreshed(claimed)) == [
        {"user_id": uuid.UUID(user), "answer": "accepted", "status": "active"}
    ]
    row = google.row(user)
    assert row["version"] == before["version"] + 1
    assert row["next_refresh_at"] == row["access_expires_at"] > before["access_expires_at"]
    assert (row["refresh_lease_token"], row["refresh_lease_until"]) == (None, None)
    [got] = google.get(user)
    opened = RING.open(got["sealed_access_token"], uuid.UUID(user), Kind.ACCESS, got["key_id"])
    assert opened == f"{ACCESS}-2"


def test_a_revoked_token_is_deleted_and_its_user_is_told(google: Connections) -> None:
    user = google.connect(expires_in=1)
    google.queue.do("truncate realtime.messages")
    [claimed] = google.claim()
    google.finish({**lease(claimed), "outcome": "revoked", "reason": "invalid_grant"})
    row = google.row(user)
    assert (row["status"], row["reason"], row["key_id"]) == ("revoked", "invalid_grant", None)
    assert (row["sealed_refresh_token"], row["sealed_access_token"]) == (None, None)
    [message] = google.queue.rows("select * from realtime.messages")
    assert (message["topic"], message["event"]) == (f"user:{user}", "google_connection")
    assert message["private"] is True
    assert message["payload"].items() >= {"status": "revoked"}.items()
    assert set(message["payload"]) <= {"status", "id"}
    [trail] = google.queue.rows(
        "select * from public.user_activity_logs where user_id = %s and action = 'google.revoked'",
        user,
    )
    assert trail["details"] == {"category": "invalid_grant"}
    with google.queue.acting_as("authenticated", user):
        found = google.queue.value("select public.get_my_google_connection()")
    assert found["status"] == "revoked"
    assert "Connect your Google account again" in found["advice"]


def test_a_revoked_connection_is_neither_taken_nor_told_again(google: Connections) -> None:
    user = google.connect(expires_in=1)
    [claimed] = google.claim()
    item = {**lease(claimed), "outcome": "revoked", "reason": "invalid_grant"}
    google.finish(item)
    google.queue.do("truncate realtime.messages")
    assert google.finish(item)[0]["answer"] == "lease_lost"
    assert google.claim() == google.claim(1, 600, user) == []
    assert google.queue.rows("select 1 from realtime.messages") == []
    assert google.get(user)[0]["sealed_access_token"] is None


def test_connecting_anew_heals_what_was_revoked(google: Connections) -> None:
    user = google.connect(expires_in=1)
    [claimed] = google.claim()
    google.finish({**lease(claimed), "outcome": "revoked", "reason": "invalid_grant"})
    google.connect(user)
    assert google.row(user)["status"] == "active"


def test_a_failed_refresh_keeps_the_tokens_and_waits_longer_each_time(google: Connections) -> None:
    user = google.connect(expires_in=1)
    before = google.row(user)
    waits = []
    for n in range(1, 4):
        [claimed] = google.claim()
        [answer] = google.finish({**lease(claimed), "outcome": "failed", "reason": "network"})
        assert answer["status"] == "failing"
        row = google.row(user)
        assert (row["failures"], row["reason"], row["version"]) == (n, "network", before["version"])
        assert row["sealed_refresh_token"] == before["sealed_refresh_token"]
        assert google.claim() == google.claim(1, 600, user) == []
        waits.append(google.get(user)[0]["retry_in_seconds"])
        google.set(user, "retry_at = clock_timestamp(), next_refresh_at = clock_timestamp()")
    for wait, longest in zip(waits, (30, 60, 120), strict=True):
        assert longest / 2 - 1 <= wait <= longest
    [claimed] = google.claim()
    google.finish(refreshed(claimed))
    row = google.row(user)
    assert (row["status"], row["failures"], row["retry_at"]) == ("active", 0, None)


def test_the_back_off_ends_at_an_hour_and_heeds_what_google_asked_for(google: Connections) -> None:
    user = google.connect(expires_in=1)
    google.set(user, "failures = 60")
    [claimed] = google.claim()
    google.finish({**lease(claimed), "outcome": "failed", "reason": "network"})
    assert 1799 <= google.get(user)[0]["retry_in_seconds"] <= 3600
    google.set(user, "retry_at = clock_timestamp(), failures = 0")
    [claimed] = google.claim(1, 600, user)
    google.finish(
        {**lease(claimed), "outcome": "failed", "reason": "busy", "retry_after_seconds": 500}
    )
    assert 495 <= google.get(user)[0]["retry_in_seconds"] <= 500


def test_a_released_lease_changes_nothing_else(google: Connections) -> None:
    user = google.connect(expires_in=1)
    [claimed] = google.claim()
    google.finish({**lease(claimed), "outcome": "released"})
    row = google.row(user)
    assert (row["status"], row["failures"]) == ("active", 0)
    assert len(google.claim()) == 1


def test_only_the_holder_of_the_lease_ends_a_refresh(google: Connections) -> None:
    user = google.connect(expires_in=1)
    [claimed] = google.claim()
    before = google.row(user)
    stranger = {**claimed, "lease_token": uuid.uuid4()}
    for item in (
        refreshed(stranger),
        {**lease(stranger), "outcome": "revoked", "reason": "invalid_grant"},
        {**lease(stranger), "outcome": "failed", "reason": "network"},
        {**lease(stranger), "outcome": "released"},
    ):
        assert google.finish(item)[0]["answer"] == "lease_lost"
    assert google.row(user) == before


def test_a_refresh_of_who_has_left_meanwhile_is_lost(google: Connections) -> None:
    user = google.connect(expires_in=1)
    [claimed] = google.claim()
    google.queue.value("select public.disconnect_google(%s)", user)
    [answer] = google.finish(refreshed(claimed))
    assert (answer["answer"], answer["status"]) == ("lease_lost", None)
    assert google.queue.rows("select 1 from private.google_tokens") == []


def test_a_batch_is_answered_item_by_item_in_its_order(google: Connections) -> None:
    for _ in range(3):
        google.connect(expires_in=1)
    first, second, third = google.claim()
    lost = {**third, "lease_token": uuid.uuid4()}
    answers = google.finish(
        refreshed(lost), refreshed(first), {**lease(second), "outcome": "failed", "reason": "x"}
    )
    assert [row["answer"] for row in answers] == ["lease_lost", "accepted", "accepted"]
    assert [row["user_id"] for row in answers] == [row["user_id"] for row in (third, first, second)]


BAD: list[tuple[Row, str]] = [
    ({"user_id": "CANARY"}, "results[1]: user_id must be a uuid"),
    ({"lease_token": "CANARY"}, "results[1]: lease_token must be a uuid"),
    ({"outcome": "CANARY"}, "results[1]: outcome must be"),
    ({"key_id": "CANARY CANARY"}, "results[1]: key_id must be"),
    ({"sealed_access_token": "ya29.CANARY"}, "results[1]: sealed_access_token and"),
    ({"sealed_refresh_token": None}, "results[1]: sealed_access_token and"),
    ({"expires_in_seconds": "CANARY"}, "results[1]: expires_in_seconds must be"),
    ({"expires_in_seconds": None}, "results[1]: expires_in_seconds must be"),
    ({"outcome": "failed", "reason": "CANARY text"}, "results[1]: reason must be a category"),
    ({"outcome": "revoked", "reason": None}, "results[1]: reason must be a category"),
    ({"outcome": "failed", "reason": "x", "retry_after_seconds": "CANARY"}, "retry_after_seconds"),
    ({"outcome": "released", "expires_in_seconds": "CANARY"}, "expires_in_seconds must be"),
]


@pytest.mark.parametrize(("change", "says"), BAD)
def test_a_malformed_item_refuses_the_batch_without_its_value(
    google: Connections, change: Row, says: str
) -> None:
    google.connect(expires_in=1)
    google.connect(expires_in=1)
    first, second = google.claim()
    with pytest.raises(psycopg.Error) as refused:
        google.finish(refreshed(first), {**refreshed(second), **change})
    assert refused.value.sqlstate == "PT400"
    assert says in str(refused.value)
    assert "CANARY" not in str(refused.value)
    assert google.row(str(first["user_id"]))["refresh_lease_token"] is not None


@pytest.mark.parametrize(
    "arguments",
    [
        "null, 1, 1, 1",
        "'', 1, 1, 1",
        "'r', 0, 1, 1",
        "'r', 1001, 1, 1",
        "'r', 1, -1, 1",
        "'r', 1, 86401, 1",
        "'r', 1, 1, 0",
        "'r', 1, 1, 3601",
        "'r', 1, 1, 1, array(select gen_random_uuid() from generate_series(1, 1001))",
    ],
)
def test_a_claim_of_nonsense_is_refused(google: Connections, arguments: str) -> None:
    with pytest.raises(psycopg.Error) as refused:
        google.queue.do(f"select * from public.claim_google_token_refreshes({arguments})")
    assert refused.value.sqlstate == "PT400"


def test_a_claim_reads_what_is_due_and_not_the_table(google: Connections) -> None:
    queue = google.queue
    queue.do(
        "with made as (insert into auth.users (id, email)"
        "  select gen_random_uuid(), gen_random_uuid() || '@many.test'"
        "  from generate_series(1, 5000)"
        "  returning id)"
        " insert into private.google_tokens (user_id, key_id, sealed_refresh_token,"
        "  sealed_access_token, access_expires_at, next_refresh_at)"
        " select id, 'k1', repeat('A', 60), repeat('A', 60), now() + interval '1 day', now() +"
        "  interval '1 day' from made"
    )
    user = google.connect(expires_in=1)
    queue.do("analyze private.google_tokens")

    def read() -> Row:
        [counts] = queue.rows(
            "select seq_scan, idx_tup_fetch from pg_stat_xact_user_tables"
            " where relid = 'private.google_tokens'::regclass"
        )
        return counts

    with queue.connection.transaction():
        before = read()
        assert ids(google.claim()) == {user}
        after = read()
    assert after["seq_scan"] == before["seq_scan"]
    assert after["idx_tup_fetch"] - before["idx_tup_fetch"] < 20
    queue.do("delete from auth.users where email ~ '@many.test$'")
