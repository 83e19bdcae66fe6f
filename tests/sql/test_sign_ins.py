"""Sign-ins: the token hook keeps the list, and ending one ends its refresh tokens."""

from __future__ import annotations

import json
import uuid
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from flowstate_local.processes import wait_for
from tests.sql.driver import QueueDriver, Row, User


def sign_in(queue: QueueDriver, user: User, device: str = "Firefox on Linux") -> str:
    """What Supabase Auth does: a session with a refresh token, then the hook."""
    session = str(uuid.uuid4())
    queue.do(
        "insert into auth.sessions (id, user_id, created_at, user_agent, ip)"
        " values (%s, %s, now(), %s, '203.0.113.9')",
        session,
        user.id,
        device,
    )
    queue.do(
        "insert into auth.refresh_tokens (token, user_id, session_id, revoked)"
        " values (%s, %s, %s, false)",
        session,
        user.id,
        session,
    )
    assert "claims" in token(queue, user, session, "password")
    return session


def token(queue: QueueDriver, user: User, session: str, method: str = "token_refresh") -> Row:
    event = {
        "user_id": user.id,
        "claims": {"sub": user.id, "role": "authenticated", "session_id": session},
        "authentication_method": method,
    }
    answer = queue.value("select public.custom_access_token_hook(%s)", json.dumps(event))
    assert isinstance(answer, dict)
    return answer


def revoke(queue: QueueDriver, by: User, session: str) -> Row:
    with queue.acting_as("authenticated", by.id):
        answer = queue.value("select public.revoke_session(%s)", session)
    assert isinstance(answer, dict)
    return answer


def test_a_token_carries_role_and_tier_and_all_that_was_in_it(queue: QueueDriver) -> None:
    user = queue.user("pro")
    session = sign_in(queue, user)
    queue.do("update public.user_profiles set role = 'support' where user_id = %s", user.id)
    assert token(queue, user, session)["claims"] == {
        "sub": user.id,
        "role": "authenticated",
        "session_id": session,
        "user_role": "support",
        "user_tier": "pro",
    }


def test_a_sign_in_is_listed_for_its_user_with_device_and_address(queue: QueueDriver) -> None:
    user, other = queue.user(), queue.user()
    session = sign_in(queue, user)
    with queue.acting_as("authenticated", user.id):
        [row] = queue.rows("select * from public.user_sessions")
        [line] = queue.rows(
            "select * from public.user_activity_logs where action = 'session.started'"
        )
    assert (str(row["id"]), row["device"], row["method"]) == (
        session,
        "Firefox on Linux",
        "password",
    )
    assert str(row["address"]) == "203.0.113.9"
    assert line["object_id"] == session
    with queue.acting_as("authenticated", other.id):
        assert queue.rows("select * from public.user_sessions") == []


def test_a_refresh_moves_last_seen_and_is_no_event(queue: QueueDriver) -> None:
    user = queue.user()
    session = sign_in(queue, user)
    queue.do("update public.user_sessions set last_seen_at = '2026-01-01'")
    token(queue, user, session)
    [row] = queue.rows("select * from public.user_sessions where last_seen_at > '2026-01-02'")
    assert str(row["id"]) == session
    events = queue.value(
        "select count(*) from public.user_activity_logs where user_id = %s"
        " and action = 'session.started'",
        user.id,
    )
    assert events == 1


def test_an_ended_sign_in_gets_no_token_and_has_no_refresh_token(queue: QueueDriver) -> None:
    user = queue.user()
    session, kept = sign_in(queue, user), sign_in(queue, user)
    assert revoke(queue, user, session) == {"revoked": 1}
    assert token(queue, user, session)["error"]["http_code"] == 403
    assert "claims" in token(queue, user, kept)
    left = queue.rows("select token from auth.refresh_tokens where user_id = %s", user.id)
    assert [row["token"] for row in left] == [kept]
    assert revoke(queue, user, session) == {"revoked": 0}


def test_all_but_the_current_one_are_ended(queue: QueueDriver) -> None:
    user = queue.user()
    current, *others = (sign_in(queue, user) for _ in range(3))
    claims = json.dumps({"role": "authenticated", "sub": user.id, "session_id": current})
    with queue.connection.transaction():
        queue.do("select set_config('request.jwt.claims', %s, true)", claims)
        queue.do("set local role authenticated")
        assert queue.value("select public.revoke_all_sessions()") == {"revoked": 2}
    assert "claims" in token(queue, user, current)
    for session in others:
        assert "error" in token(queue, user, session)
    with queue.acting_as("service_role"):
        assert queue.value("select public.revoke_all_sessions(%s)", user.id) == {"revoked": 1}


def test_nobody_ends_a_sign_in_of_somebody_else(queue: QueueDriver) -> None:
    user, other = queue.user(), queue.user()
    session = sign_in(queue, user)
    for statement, argument in (
        ("select public.revoke_session(%s)", session),
        ("select public.revoke_all_sessions(%s)", user.id),
    ):
        with pytest.raises(psycopg.Error) as caught, queue.acting_as("authenticated", other.id):
            queue.do(statement, argument)
        assert caught.value.sqlstate in ("PT403", "PT404")
    assert "claims" in token(queue, user, session)


def test_a_sign_in_can_be_ended_while_it_is_being_refreshed(queue: QueueDriver) -> None:
    user = queue.user()
    session = sign_in(queue, user)
    refreshing, ending = QueueDriver(queue.url), QueueDriver(queue.url)
    with ThreadPoolExecutor(1) as pool:
        with refreshing.connection.transaction():
            # As Supabase Auth does it: the session is locked, then the hook is called.
            refreshing.do("select from auth.sessions where id = %s for update", session)
            answer = pool.submit(revoke, ending, user, session)
            blocked = "select cardinality(pg_blocking_pids(%s)) > 0"
            pid = ending.connection.info.backend_pid
            assert wait_for(lambda: bool(queue.value(blocked, pid)), seconds=20)
            assert "claims" in token(refreshing, user, session)
        assert answer.result() == {"revoked": 1}
    assert "error" in token(queue, user, session)
    refreshing.close()
    ending.close()


def test_a_sign_out_is_noticed_and_forgotten_in_the_end(queue: QueueDriver) -> None:
    queue.do("delete from public.user_sessions")
    user = queue.user()
    gone, here = sign_in(queue, user), sign_in(queue, user)
    queue.do("delete from auth.sessions where id = %s", gone)
    queue.do("select private.end_sign_ins(1000)")
    assert queue.value("select count(*) from public.user_sessions where ended_at is null") == 2
    queue.do("update public.user_sessions set checked_at = now() - interval '25 hours'")
    queue.do("select private.end_sign_ins(1000)")
    [row] = queue.rows("select * from public.user_sessions where ended_at is not null")
    assert (str(row["id"]), row["end_reason"]) == (gone, "signed_out")
    queue.do(
        "update public.user_sessions set ended_at = now() - interval '91 days' where id = %s", gone
    )
    assert queue.value("select private.end_sign_ins(1000)") == 1
    assert [str(r["id"]) for r in queue.rows("select id from public.user_sessions")] == [here]


def test_only_the_sign_in_server_calls_the_hook(queue: QueueDriver) -> None:
    user = queue.user()
    for role in ("anon", "authenticated", "service_role"):
        with (
            pytest.raises(psycopg.errors.InsufficientPrivilege),
            queue.acting_as(role, user.id),
        ):
            queue.do("select public.custom_access_token_hook('{}')")
