"""A page of a user's history reads a page of rows from one index, however long the history is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.sql.driver import QueueDriver, Row, result

WEEKS = 5
LIGHT, HEAVY, NEW = "md5('u7')::uuid", "md5('u0')::uuid", "md5('new')::uuid"
"""One user has 10 rows, one a tenth of all, and one a thousand that Postgres does not know of."""

ROWS = """
insert into public.execution_logs (execution_id, attempt, user_id, tier, flow_id, flow_name,
  flow_kind, flow_version, outcome, is_final, queued_at, finished_at)
select gen_random_uuid(), 1, md5('u' || case when n %% 10 = 0 then 0 else n %% (%s / 10) end)::uuid,
       'pro', gen_random_uuid(), 'f', 'apps_script', 1, 'succeeded', true, m.at, m.at
  from generate_series(1, %s) n
 cross join lateral (select now() - n * interval '1 week' * %s / %s as at) m
"""

DIRECT = "select * from public.execution_logs where user_id = {user}"
VIEW = "select * from public.flow_executions where user_id = {user}"
PAGE = " order by finished_at desc limit {most}"
NEXT = " and finished_at < now() - interval '10 days'"


@pytest.fixture(scope="module", params=[4_000, 40_000])
def past(request: pytest.FixtureRequest, database_url: str) -> Iterator[QueueDriver]:
    """So many rows over five weeks; with the partitions ahead and the default one."""
    queue = QueueDriver(database_url)
    queue.empty()
    monday = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    monday -= timedelta(days=monday.weekday())
    older = [monday - timedelta(weeks=n) for n in range(2, WEEKS + 2)]
    for begins_at in older:
        queue.do(
            "select private.make_partition('execution_logs', %s, %s)",
            begins_at,
            begins_at + timedelta(weeks=1),
        )
    queue.do(ROWS, request.param, request.param, WEEKS, request.param)
    queue.do("analyze public.execution_logs")
    queue.do(
        "insert into public.execution_logs (execution_id, attempt, user_id, tier, flow_id,"
        "  flow_name, flow_kind, flow_version, outcome, is_final, queued_at, finished_at)"
        " select gen_random_uuid(), 1, %s, 'pro', gen_random_uuid(), 'f', 'apps_script', 1,"
        "  'succeeded', true, m.at, m.at"
        " from generate_series(1, 1000) n"
        " cross join lateral (select now() - n * interval '1 week' * %s / 1000 as at) m",
        user_id(queue, NEW),
        WEEKS,
    )
    yield queue
    for begins_at in older:
        queue.do(f"drop table partitions.execution_logs_{begins_at:%Y%m%d}")
    queue.empty()
    queue.close()


def user_id(queue: QueueDriver, user: str) -> str:
    return str(queue.value(f"select {user}"))


def nodes(plan: Row) -> Iterator[Row]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def history_nodes(queue: QueueDriver, query: str) -> list[Row]:
    """The nodes of the query's plan that read history, with what they read."""
    explained = queue.value(f"explain (analyze, format json, timing off) {query}")
    return [
        node
        for node in nodes(explained[0]["Plan"])
        if "execution_logs" in str(node.get("Index Name", node.get("Relation Name")))
    ]


def reads_a_page(queue: QueueDriver, found: list[Row], most: int) -> None:
    """From the index of the user on each partition, and no more than the page and one row each."""
    names = {node["Index Name"] for node in found if "Index Name" in node}
    assert names
    assert names <= indexes(queue, "execution_logs_user")
    # A partition with nothing in it may as well be looked through.
    through = [node for node in found if node["Node Type"] == "Seq Scan"]
    assert [n for n in through if n["Actual Rows"] + n["Rows Removed by Filter"] > 0] == []
    tables = [node for node in found if "Relation Name" in node]
    assert sum(node["Actual Rows"] * node["Actual Loops"] for node in tables) <= most + len(tables)


def indexes(queue: QueueDriver, parent: str) -> set[str]:
    """The index of that name on each partition."""
    found = queue.rows(
        "select c.relname from pg_inherits h join pg_class c on c.oid = h.inhrelid"
        " where h.inhparent = %s::regclass",
        f"public.{parent}",
    )
    return {row["relname"] for row in found}


READ = """
select coalesce(sum(idx_tup_fetch + seq_tup_read), 0)::integer from pg_stat_xact_user_tables
 where relname ~ '^execution_logs'
"""


@pytest.mark.parametrize("user", [LIGHT, HEAVY])
@pytest.mark.parametrize("query", [DIRECT + PAGE, DIRECT + NEXT + PAGE])
@pytest.mark.parametrize("most", [10, 50])
def test_a_page_of_the_table_comes_from_the_index_of_the_user(
    past: QueueDriver, user: str, query: str, most: int
) -> None:
    with past.acting_as("authenticated", user_id(past, user)):
        found = history_nodes(past, query.format(user=user, most=most))
    reads_a_page(past, found, most)
    if user == HEAVY:
        assert {node["Node Type"] for node in found} == {"Index Scan"}


def test_row_security_asks_once_who_it_is(past: QueueDriver) -> None:
    with past.acting_as("authenticated", user_id(past, HEAVY)):
        explained = past.value(
            "explain (analyze, format json, timing off)"
            + (DIRECT + PAGE).format(user=HEAVY, most=50)
        )
    asked = [n for n in nodes(explained[0]["Plan"]) if n.get("Parent Relationship") == "InitPlan"]
    assert [node["Actual Loops"] for node in asked] == [1]


@pytest.mark.parametrize("user", [LIGHT, HEAVY, NEW])
@pytest.mark.parametrize("before", [None, timedelta(days=10)])
def test_the_list_of_ones_own_reads_a_page(
    past: QueueDriver, user: str, before: timedelta | None
) -> None:
    moment = before and datetime.now(UTC) - before
    fresh = QueueDriver(past.url)
    with fresh.acting_as("authenticated", user_id(past, user)):
        # Postgres plans anew for the first five calls, and may then keep a plan for all users.
        for _ in range(7):
            read_before = fresh.value(READ)
            fresh.rows("select * from public.list_my_executions(%s, 50)", moment)
            assert 0 < fresh.value(READ) - read_before <= 50 + WEEKS + 4
    fresh.close()


def test_the_view_reads_a_page_for_a_service(past: QueueDriver) -> None:
    found = history_nodes(past, (VIEW + PAGE).format(user=HEAVY, most=50))
    reads_a_page(past, found, 50)


def test_pages_follow_each_other_without_gaps(past: QueueDriver) -> None:
    with past.acting_as("authenticated", user_id(past, HEAVY)):
        expected = past.rows((DIRECT + PAGE).format(user=HEAVY, most=120))
        seen: list[Row] = []
        before = None
        for _ in range(3):
            page = past.rows("select * from public.list_my_executions(%s, 40)", before)
            before = page[-1]["finished_at"]
            seen += page
    assert [row["execution_id"] for row in seen] == [row["execution_id"] for row in expected]


def test_the_list_holds_live_executions_first_and_each_once(queue: QueueDriver) -> None:
    queue.instances(1)
    user, other = queue.user("pro"), queue.user("pro")
    ended = queue.enqueue(user)
    [claimed] = queue.claim()
    queue.finish(result(claimed, "failed", retry=True))
    queue.do("update public.flow_execution_queue set run_at = now() - interval '1 s', state ="
             " 'available'")  # fmt: skip
    queue.do("update private.user_queue set available = 1")
    [claimed] = queue.claim()
    queue.finish(result(claimed, "succeeded"))
    live = queue.enqueue(user)
    queue.enqueue(other)
    with queue.acting_as("authenticated", user.id):
        listed = queue.rows("select * from public.list_my_executions()")
        past_only = queue.rows("select * from public.list_my_executions('infinity')")
        viewed = queue.rows("select * from public.flow_executions order by finished_at desc")
    assert [str(r["execution_id"]) for r in listed] == [live["execution_id"], ended["execution_id"]]
    assert [r["state"] for r in listed] == ["available", "succeeded"]
    assert past_only == listed[1:]
    assert [{k: r[k] for k in listed[0]} for r in viewed] == listed


@pytest.mark.parametrize("most", [0, 1001, None])
def test_a_page_is_bounded(queue: QueueDriver, most: int | None) -> None:
    with (
        pytest.raises(psycopg.Error, match=r"^max must be an integer from 1 to 1000"),
        queue.acting_as("authenticated", queue.user().id),
    ):
        queue.do("select public.list_my_executions(null, %s)", most)


def test_the_list_is_for_who_is_signed_in(queue: QueueDriver) -> None:
    with (
        pytest.raises(psycopg.Error, match="nobody is signed in"),
        queue.acting_as("service_role"),
    ):
        queue.do("select public.list_my_executions()")
