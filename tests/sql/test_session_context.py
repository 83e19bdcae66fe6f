"""Sessions, their commands and snapshots: bounded, exact, one's own."""

from __future__ import annotations

import json
import random
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.sql.driver import QueueDriver, User


class Sessions:
    """The functions as one user calls them; without a user, as a service."""

    def __init__(self, queue: QueueDriver, user: User | None) -> None:
        self._queue = queue
        self.user = user
        self.user_id = user.id if user else None

    def call(self, function: str, **arguments: Any) -> Any:
        names = ", ".join(f"{name} => %s" for name in arguments)
        values = [Jsonb(v) if isinstance(v, dict | list) else v for v in arguments.values()]
        role = "authenticated" if self.user_id else "service_role"
        with self._queue.acting_as(role, self.user_id):
            return self._queue.value(f"select public.{function}({names})", *values)

    def start(self, **arguments: Any) -> str:
        return str(self.call("start_session", **arguments)["session_id"])

    def save(self, session_id: str, content: Any, **arguments: Any) -> Any:
        return self.call(
            "save_context_snapshot", session_id=session_id, content=content, **arguments
        )

    def record(self, session_id: str, command: str = "look", **arguments: Any) -> Any:
        return self.call("record_command", session_id=session_id, command=command, **arguments)

    def read(self, session_id: str, version: int | None = None) -> Any:
        return self.call("get_context_snapshot", session_id=session_id, version=version)

    def row(self, session_id: str) -> Any:
        [row] = self._queue.rows("select * from public.sessions where id = %s", session_id)
        return row


@pytest.fixture
def mine(queue: QueueDriver) -> Sessions:
    queue.do("truncate public.sessions, public.command_history, private.context_usage cascade")
    queue.do("truncate private.housekeeping_marks")
    return Sessions(queue, queue.user())


def limit_of(queue: QueueDriver, limit: int) -> User:
    """A user of a tier of their own, with so many bytes of context."""
    tier = f"t{uuid.uuid4().hex[:12]}"
    queue.do(
        "insert into public.subscription_tiers (tier, context_limit_bytes) values (%s, %s)",
        tier,
        limit,
    )
    return queue.user(tier)


def content(size: int) -> list[str]:
    """A list that is so many bytes long as the text of jsonb."""
    return ["x" * (size - 4)]


# -- sessions -----------------------------------------------------------------------------------


def test_a_session_is_started_used_and_closed(mine: Sessions) -> None:
    session_id = mine.start(title="Inbox", metadata={"client": "cli"})
    mine.record(session_id)
    mine.save(session_id, {"a": 1})
    row = mine.row(session_id)
    assert (row["title"], row["metadata"], row["state"]) == ("Inbox", {"client": "cli"}, "active")
    assert (row["command_count"], row["context_version"], row["context_bytes"]) == (1, 1, 8)
    closed = mine.call("close_session", session_id=session_id)
    assert closed["state"] == "closed"
    assert mine.call("close_session", session_id=session_id) == closed


def test_a_session_id_of_ones_own_choice_starts_one_session(mine: Sessions) -> None:
    session_id = str(uuid.uuid4())
    assert mine.start(session_id=session_id, title="first") == session_id
    assert mine.start(session_id=session_id, title="again") == session_id
    assert mine.row(session_id)["title"] == "first"


def test_a_service_acts_for_the_user_it_names(queue: QueueDriver, mine: Sessions) -> None:
    service = Sessions(queue, None)
    session_id = service.start(user_id=mine.user_id)
    service.record(session_id)
    assert service.save(session_id, {"by": "service"}) == 1
    assert mine.read(session_id)["content"] == {"by": "service"}
    with pytest.raises(psycopg.Error, match="user_id must name"):
        service.start()
    with pytest.raises(psycopg.Error, match="user_id: there is no user"):
        service.start(user_id=str(uuid.uuid4()))


def test_another_users_session_is_answered_like_none(queue: QueueDriver, mine: Sessions) -> None:
    session_id = mine.start()
    mine.save(session_id, {})
    other = Sessions(queue, queue.user())
    calls: list[tuple[str, dict[str, Any]]] = [
        ("record_command", {"command": "x"}),
        ("save_context_snapshot", {"content": {}}),
        ("get_context_snapshot", {}),
        ("delete_context_snapshots", {"keep": 0}),
        ("close_session", {}),
        ("delete_session", {}),
    ]
    for function, arguments in calls:
        with pytest.raises(psycopg.Error, match="session_id: there is no session"):
            other.call(function, session_id=session_id, **arguments)
    with pytest.raises(psycopg.Error, match="session_id: this id is taken"):
        other.start(session_id=session_id)
    with pytest.raises(psycopg.Error, match="user_id: you can start sessions of your own only"):
        other.start(user_id=mine.user_id)
    assert mine.read(session_id)["version"] == 1


def test_users_see_their_own_rows(queue: QueueDriver, mine: Sessions) -> None:
    for user in (mine, Sessions(queue, queue.user())):
        session_id = user.start()
        user.record(session_id)
        user.save(session_id, {})
    for table in ("sessions", "command_history", "context_snapshots"):
        with queue.acting_as("authenticated", mine.user_id):
            seen = queue.rows(f"select user_id::text from public.{table}")
        assert seen == [{"user_id": mine.user_id}], table


def test_a_deleted_session_takes_everything_along(queue: QueueDriver, mine: Sessions) -> None:
    session_id, kept = mine.start(), mine.start()
    for each in (session_id, kept):
        mine.save(each, {"a": 1})
        mine.record(each)
    answer = mine.call("delete_session", session_id=session_id)
    assert answer == {"deleted": True, "commands": 1, "freed_bytes": 8}
    for table in ("command_history", "context_snapshots"):
        found = queue.rows(f"select session_id::text from public.{table}")
        assert found == [{"session_id": kept}], table


def test_a_long_session_is_deleted_in_steps(queue: QueueDriver, mine: Sessions) -> None:
    session_id = mine.start()
    queue.do(
        "insert into public.command_history (session_id, ordinal, user_id, command, outcome)"
        " select %s, n, %s, 'x', 'failed' from generate_series(1, 20001) n",
        session_id,
        mine.user_id,
    )
    first = mine.call("delete_session", session_id=session_id)
    assert (first["deleted"], first["commands"]) == (False, 20000)
    assert mine.row(session_id)["state"] == "active"
    second = mine.call("delete_session", session_id=session_id)
    assert (second["deleted"], second["commands"]) == (True, 1)


def test_sessions_go_with_their_user(queue: QueueDriver, mine: Sessions) -> None:
    mine.save(mine.start(), {})
    queue.do("delete from auth.users where id = %s", mine.user_id)
    queue.do("select public.maintain_queue()")
    for table in ("public.sessions", "public.context_snapshots", "private.context_usage"):
        assert queue.rows(f"select 1 from {table}") == [], table


def test_who_stores_and_who_deletes_the_user_do_not_deadlock(
    queue: QueueDriver, mine: Sessions
) -> None:
    first, second = mine.start(), mine.start()
    writer, deleter = QueueDriver(queue.url), QueueDriver(queue.url)
    blocked = "select cardinality(pg_blocking_pids(%s)) > 0"
    with ThreadPoolExecutor(1) as pool:
        with writer.connection.transaction():
            Sessions(writer, mine.user).save(second, {})
            deletion = pool.submit(deleter.do, "delete from auth.users where id = %s", mine.user_id)
            while not queue.value(blocked, deleter.connection.info.backend_pid):
                assert not deletion.done()
            Sessions(writer, mine.user).record(first)
        deletion.result()
    writer.close()
    deleter.close()
    assert queue.rows("select 1 from public.sessions") == []


# -- commands -----------------------------------------------------------------------------------


def test_commands_are_numbered_in_their_session(queue: QueueDriver, mine: Sessions) -> None:
    session_id = mine.start()
    for n in (1, 2):
        assert mine.record(session_id, f"c{n}")["ordinal"] == n
    found = queue.rows("select command, ordinal from public.command_history order by ordinal")
    assert found == [{"command": "c1", "ordinal": 1}, {"command": "c2", "ordinal": 2}]


def test_a_repeated_record_is_recognised(queue: QueueDriver, mine: Sessions) -> None:
    session_id = mine.start()
    for duplicate in (False, True):
        answer = mine.record(session_id, "look", arguments={"n": 1}, ordinal=1)
        assert answer == {"ordinal": 1, "duplicate": duplicate}
    assert queue.value("select count(*) from public.command_history") == 1
    for command, ordinal in (("other", 1), ("look", 3)):
        with pytest.raises(psycopg.Error, match=r"ordinal: the next command .* is number 2"):
            mine.record(session_id, command, ordinal=ordinal)


def test_a_user_records_so_many_commands_a_day(queue: QueueDriver, mine: Sessions) -> None:
    session_id = mine.start()
    queue.do("update private.context_usage set commands = 9999")
    mine.record(session_id)
    with pytest.raises(psycopg.Error, match="10000 commands today") as refused:
        mine.record(session_id)
    details = json.loads(refused.value.diag.message_detail or "")
    assert details["status"] == 429
    assert 0 < int(details["headers"]["Retry-After"]) <= 86400
    assert mine.row(session_id)["command_count"] == 1
    queue.do("update private.context_usage set commands_on = commands_on - 1")
    mine.record(session_id)
    assert queue.value("select commands from private.context_usage") == 1


# -- snapshots ----------------------------------------------------------------------------------


def test_the_latest_snapshot_or_any_version_is_read(mine: Sessions) -> None:
    session_id = mine.start()
    assert [mine.save(session_id, {"n": n}) for n in (1, 2, 3)] == [1, 2, 3]
    latest = mine.read(session_id)
    assert (latest["version"], latest["content"], latest["size_bytes"]) == (3, {"n": 3}, 8)
    assert mine.read(session_id, 2)["content"] == {"n": 2}
    with pytest.raises(psycopg.Error, match="version: the session has no snapshot 4"):
        mine.read(session_id, 4)
    with pytest.raises(psycopg.Error, match="session_id: the session has no snapshot"):
        mine.read(mine.start())


def test_a_repeated_save_is_recognised_and_a_second_writer_refused(mine: Sessions) -> None:
    session_id = mine.start()
    for _ in range(2):
        assert mine.save(session_id, {"a": 1}, version=1) == 1
    assert mine.row(session_id)["context_bytes"] == 8
    for version in (1, 3):
        with pytest.raises(psycopg.Error, match=r"version: the next snapshot .* is version 2"):
            mine.save(session_id, {"a": 2}, version=version)
    assert mine.save(session_id, {"a": 2}, version=2) == 2


def test_old_snapshots_are_deleted_and_versions_never_used_again(mine: Sessions) -> None:
    session_id = mine.start()
    for n in range(3):
        mine.save(session_id, {"n": n})
    delete = {"session_id": session_id}
    answer = mine.call("delete_context_snapshots", **delete, keep=1)
    assert answer == {"deleted": 2, "freed_bytes": 16}
    assert mine.read(session_id)["version"] == 3
    assert mine.call("delete_context_snapshots", **delete, keep=0)["deleted"] == 1
    assert mine.row(session_id)["context_bytes"] == 0
    assert mine.save(session_id, {}) == 4


def test_a_snapshot_over_the_limit_of_the_tier_is_refused_whole(queue: QueueDriver) -> None:
    mine = Sessions(queue, limit_of(queue, 1000))
    first, second = mine.start(), mine.start()
    mine.save(first, content(600))
    mine.save(second, content(300))
    with pytest.raises(
        psycopg.Error, match=r"content: 101 bytes beside the 900 .* 1000"
    ) as refused:
        mine.save(first, content(101))
    assert refused.value.sqlstate == "PT413"
    assert "delete_context_snapshots" in (refused.value.diag.message_hint or "")
    assert json.loads(refused.value.diag.message_detail or "") == {
        "size": 101,
        "used": 900,
        "limit": 1000,
    }
    assert mine.row(first)["context_version"] == 1
    mine.save(first, content(100))
    mine.call("delete_context_snapshots", session_id=second, keep=0)
    mine.save(first, content(300))


def test_a_changed_tier_acts_on_the_next_snapshot(queue: QueueDriver) -> None:
    user = limit_of(queue, 10)
    mine = Sessions(queue, user)
    session_id = mine.start()
    with pytest.raises(psycopg.Error, match="content: 11 bytes"):
        mine.save(session_id, content(11))
    queue.do("update public.user_profiles set tier = 'free' where user_id = %s", user.id)
    mine.save(session_id, content(11))


def test_the_limit_holds_under_concurrent_saves(queue: QueueDriver) -> None:
    user = limit_of(queue, 10_000)
    sessions = [Sessions(queue, user).start() for _ in range(4)]

    def save_some(seed: int) -> tuple[int, int]:
        chance = random.Random(seed)
        driver = QueueDriver(queue.url)
        saved = refused = 0
        for _ in range(12):
            try:
                Sessions(driver, user).save(chance.choice(sessions), content(400))
                saved += 1
            except psycopg.Error as error:
                assert error.sqlstate == "PT413"  # noqa: PT017
                refused += 1
        driver.close()
        return saved, refused

    with ThreadPoolExecutor(8) as pool:
        tallies = list(pool.map(save_some, range(8)))
    assert sum(saved for saved, _ in tallies) == 25
    assert sum(refused for _, refused in tallies) == 96 - 25
    assert queue.rows(
        "select sum(context_bytes)::bigint as counted,"
        "  (select sum(size_bytes) from public.context_snapshots c where c.user_id = %s)::bigint"
        "    as kept"
        " from public.sessions where user_id = %s",
        user.id,
        user.id,
    ) == [{"counted": 10_000, "kept": 10_000}]


def test_content_is_compressed_and_kept_beside_the_table(
    queue: QueueDriver, mine: Sessions
) -> None:
    session_id = mine.start()
    messages = [
        {"role": "user" if n % 2 else "assistant", "text": f"Message number {n} of the session"}
        for n in range(2000)
    ]
    mine.save(session_id, messages)
    assert mine.read(session_id)["content"] == messages
    [row] = queue.rows(
        "select c.size_bytes, pg_column_size(c.content) as stored, a.attcompression::text as set,"
        "  pg_column_compression(c.content) as by, pg_relation_size(t.reltoastrelid) as beside"
        " from public.context_snapshots c"
        " join pg_class t on t.oid = c.tableoid"
        " join pg_attribute a on a.attrelid = t.oid and a.attname = 'content'"
        " where c.session_id = %s",
        session_id,
    )
    assert row["stored"] < row["size_bytes"] / 3
    assert row["beside"] > 0
    assert row["by"] == {"p": "pglz", "l": "lz4"}[row["set"]]
    assert ("lz4" if row["set"] == "l" else "pglz") == queue.value(
        "select case when 'lz4' = any (enumvals) then 'lz4' else 'pglz' end"
        " from pg_settings where name = 'default_toast_compression'"
    )


# -- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "arguments", "field"),
    [
        ("start_session", {"title": ""}, "title"),
        ("start_session", {"title": "x" * 201}, "title"),
        ("start_session", {"metadata": []}, "metadata"),
        ("start_session", {"metadata": {"x": "y" * 9000}}, "metadata"),
        ("start_session", {"metadata": None}, "metadata"),
        ("record_command", {"command": ""}, "command"),
        ("record_command", {"command": None}, "command"),
        ("record_command", {"command": "x" * 2001}, "command"),
        ("record_command", {"arguments": {"x": "y" * 9000}}, "arguments"),
        ("record_command", {"arguments": ["x"]}, "arguments"),
        ("record_command", {"outcome": "maybe"}, "outcome"),
        ("record_command", {"outcome": None}, "outcome"),
        ("record_command", {"duration_ms": -1}, "duration_ms"),
        ("save_context_snapshot", {"content": None}, "content"),
        ("save_context_snapshot", {"content": Jsonb("text")}, "content"),
        ("save_context_snapshot", {"content": Jsonb(None)}, "content"),
        ("delete_context_snapshots", {"keep": -1}, "keep"),
        ("delete_context_snapshots", {"keep": 1001}, "keep"),
        ("delete_context_snapshots", {"keep": None}, "keep"),
    ],
)
def test_bad_arguments_are_refused_by_name(
    mine: Sessions, function: str, arguments: dict[str, Any], field: str
) -> None:
    given = dict(arguments)
    if function != "start_session":
        given["session_id"] = mine.start()
    if function == "record_command":
        given = {"command": "look", **given}
    with pytest.raises(psycopg.Error, match=f"^{field} must be") as refused:
        mine.call(function, **given)
    assert refused.value.sqlstate == "PT400"


def test_sessions_and_snapshots_are_bounded_in_number(queue: QueueDriver, mine: Sessions) -> None:
    session_id = mine.start()
    queue.do(
        "insert into public.context_snapshots"
        " (session_id, version, user_id, size_bytes, content)"
        " select %s, n, %s, 2, '{}' from generate_series(1001, 2000) n",
        session_id,
        mine.user_id,
    )
    with pytest.raises(psycopg.Error, match="session_id: the session has 1000 snapshots"):
        mine.save(session_id, {})
    queue.do(
        "insert into public.sessions (id, user_id)"
        " select gen_random_uuid(), %s from generate_series(1, 999) n",
        mine.user_id,
    )
    with pytest.raises(psycopg.Error, match="you have 1000 sessions"):
        mine.start()


def test_a_closed_session_takes_nothing_more_and_stays_readable(mine: Sessions) -> None:
    session_id = mine.start()
    mine.save(session_id, {"a": 1})
    mine.call("close_session", session_id=session_id)
    for function, arguments in (
        ("record_command", {"command": "look"}),
        ("save_context_snapshot", {"content": [{}]}),
    ):
        with pytest.raises(psycopg.Error, match="session_id: the session is closed"):
            mine.call(function, session_id=session_id, **arguments)
    assert mine.read(session_id)["content"] == {"a": 1}


def test_a_suspended_user_stores_nothing_and_reads_and_deletes(
    queue: QueueDriver, mine: Sessions
) -> None:
    session_id = mine.start()
    mine.save(session_id, {})
    queue.do(
        "update public.user_profiles set suspended_at = now() where user_id = %s",
        mine.user_id,
    )
    for attempt in (
        mine.start,
        lambda: mine.record(session_id),
        lambda: mine.save(session_id, {}),
    ):
        with pytest.raises(psycopg.Error, match="suspended"):
            attempt()
    assert mine.read(session_id)["version"] == 1
    assert mine.call("delete_session", session_id=session_id)["deleted"] is True


@pytest.mark.parametrize("table", ["sessions", "command_history", "context_snapshots"])
@pytest.mark.parametrize("role", ["authenticated", "service_role"])
def test_nobody_writes_past_the_functions(
    queue: QueueDriver, mine: Sessions, table: str, role: str
) -> None:
    session_id = mine.start()
    mine.record(session_id)
    mine.save(session_id, {})
    for statement in (f"delete from public.{table}", f"update public.{table} set user_id = null"):
        with (
            pytest.raises(psycopg.errors.InsufficientPrivilege),
            queue.acting_as(role, mine.user_id),
        ):
            queue.do(statement)


# -- pruning ------------------------------------------------------------------------------------


def idle(queue: QueueDriver, session_id: str, days: int) -> None:
    queue.do(
        "update public.sessions set last_active_at = now() - make_interval(days => %s)"
        " where id = %s",
        days,
        session_id,
    )


def test_sessions_idle_for_longer_than_the_retention_of_the_tier_are_pruned(
    queue: QueueDriver, mine: Sessions
) -> None:
    pro = Sessions(queue, queue.user("pro"))
    old, fresh = mine.start(), mine.start()
    pro_old, pro_kept = pro.start(), pro.start()
    mine.save(old, {})
    mine.record(old)
    for session_id, days in ((old, 31), (fresh, 29), (pro_old, 91), (pro_kept, 89)):
        idle(queue, session_id, days)
    assert queue.value("select public.maintain_queue()")["sessions_pruned"] == 2
    left = {str(row["id"]) for row in queue.rows("select id from public.sessions")}
    assert left == {fresh, pro_kept}
    assert queue.rows("select 1 from public.context_snapshots") == []
    assert queue.value("select count(*) from public.command_history") == 1


def test_pruning_walks_on_past_sessions_that_stay(queue: QueueDriver, mine: Sessions) -> None:
    pro = Sessions(queue, queue.user("pro"))
    for days in (80, 70, 60):
        idle(queue, pro.start(), days)
    idle(queue, mine.start(), 40)
    idle(queue, mine.start(), 35)
    pruned = [queue.value("select private.prune_sessions(2)") for _ in range(4)]
    assert pruned == [0, 1, 1, 0]
    # And begins again.
    idle(queue, mine.start(), 85)
    assert sum(queue.value("select private.prune_sessions(2)") for _ in range(2)) == 1


def test_a_session_that_is_in_use_is_not_pruned(queue: QueueDriver, mine: Sessions) -> None:
    session_id = mine.start()
    idle(queue, session_id, 31)
    other = QueueDriver(queue.url)
    with other.connection.transaction():
        other.do("select private.hold_open_session(%s)", session_id)
        assert queue.value("select private.prune_sessions(10)") == 0
    other.close()
    assert queue.value("select private.prune_sessions(10)") == 1


def test_activity_moves_to_the_minute(queue: QueueDriver, mine: Sessions) -> None:
    session_id = mine.start()
    before = mine.row(session_id)["last_active_at"]
    mine.record(session_id)
    assert mine.row(session_id)["last_active_at"] == before
    idle(queue, session_id, 20)
    mine.save(session_id, {})
    assert mine.row(session_id)["last_active_at"] > before
