"""Deletion and export: everything of a user can be taken along, and nothing stays behind."""

from __future__ import annotations

import hashlib
from typing import Any

import psycopg
import pytest

from tests.sql.driver import QueueDriver, Row, User, result

OWNED_TABLES = """
select n.nspname as schema, c.relname as name
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  join pg_attribute a on a.attrelid = c.oid and a.attname = 'user_id' and not a.attisdropped
 where n.nspname in ('public', 'private') and c.relkind in ('r', 'p')
 order by 1, 2
"""


def lived_in(queue: QueueDriver) -> User:
    """A user with something in as many tables as the verbs reach, and nothing running."""
    user = queue.user("enterprise")
    queue.instances(1)
    for outcome in ("succeeded", "failed"):
        queue.enqueue(user, idempotency_key=outcome, input={"order": outcome})
        [claimed] = queue.claim()
        queue.finish(result(claimed, outcome, retry=False))
    queue.enqueue(user, input={"note": "still queued"})
    queue.do(
        "insert into public.user_limit_overrides (user_id, hour_limit, reason, ends_at)"
        " values (%s, 50, 'trial', now() + interval '1 day')",
        user.id,
    )
    queue.do(
        "insert into public.user_sessions (id, user_id) values (gen_random_uuid(), %s)", user.id
    )
    return user


def delete(queue: QueueDriver, user: User, reason: str | None = "they asked for it") -> Row:
    with queue.acting_as("service_role"):
        answer = queue.value("select public.delete_user(%s, %s)", user.id, reason)
    assert isinstance(answer, dict)
    return answer


def rows_of(queue: QueueDriver, user: User) -> dict[str, int]:
    """In how many rows of which tables the user is."""
    counts = {}
    for table in queue.rows(OWNED_TABLES):
        name = f"{table['schema']}.{table['name']}"
        counts[name] = queue.value(f"select count(*) from {name} where user_id = %s", user.id)
    return {name: count for name, count in counts.items() if count}


def test_a_deleted_user_is_in_no_table_any_more(queue: QueueDriver) -> None:
    user, other = lived_in(queue), queue.user()
    queue.enqueue(other)
    assert len(rows_of(queue, user)) >= 10
    answer = delete(queue, user)
    assert (answer["state"], answer["running"]) == ("deleted", 0)
    assert rows_of(queue, user) == {}
    assert queue.value("select count(*) from auth.users where id = %s", user.id) == 0
    assert queue.counters_are_true()
    assert sum(rows_of(queue, other).values()) >= 5


def test_a_user_deleted_through_the_sign_in_server_leaves_nothing_either(
    queue: QueueDriver,
) -> None:
    user = lived_in(queue)
    [running] = queue.claim()
    queue.do("delete from auth.users where id = %s", user.id)
    assert set(rows_of(queue, user)) >= {"private.erasures", "public.execution_logs"}
    queue.do("select private.erase_history(10000)")
    assert rows_of(queue, user) == {}
    [answer] = queue.finish(result(running, "succeeded"))
    assert answer["answer"] == "lease_lost"
    assert rows_of(queue, user) == {}


def test_the_trail_of_a_deleted_user_says_what_but_not_who(queue: QueueDriver) -> None:
    user = lived_in(queue)
    queue.do("select private.chain_activity(100000)")
    delete(queue, user)
    [deleted] = queue.rows(
        "select * from public.user_activity_logs where action = 'user.deleted' and object_id = %s",
        hashlib.sha256(user.id.encode()).hexdigest(),
    )
    assert (deleted["user_id"], deleted["details"]) == (None, {"reason": "they asked for it"})
    found = queue.value(
        "select count(*) from public.user_activity_logs l where to_jsonb(l)::text like %s",
        f"%{user.id}%",
    )
    assert found == 0


def test_the_chain_still_verifies_after_an_erasure(queue: QueueDriver) -> None:
    queue.do("truncate public.user_activity_logs")
    queue.do("delete from private.activity_chain")
    queue.do("insert into private.activity_chain default values")
    user = lived_in(queue)
    queue.do("select private.chain_activity(100000)")
    delete(queue, user)
    answer = queue.value("select public.verify_activity(max => 10000)")
    assert answer["ok"] is True
    assert answer["erased"] > 0


def test_running_calls_are_ended_before_the_account_goes(queue: QueueDriver) -> None:
    user = lived_in(queue)
    [running] = queue.claim()
    assert delete(queue, user) == {"state": "ending", "running": 1, "erased": 0}
    with pytest.raises(psycopg.Error, match="suspended"):
        queue.enqueue(user)
    [beat] = queue.rows("select * from public.heartbeat_flow_executions('p1', 30)")
    assert beat["cancel_requested"] is True
    queue.finish(result(running, "failed"))
    assert delete(queue, user)["state"] == "deleted"
    assert rows_of(queue, user) == {}


def test_housekeeping_ends_a_deletion_that_nobody_came_back_for(queue: QueueDriver) -> None:
    user = lived_in(queue)
    [running] = queue.claim()
    delete(queue, user)
    queue.do("select public.maintain_queue()")
    assert rows_of(queue, user) != {}
    queue.finish(result(running, "failed"))
    queue.do("select public.maintain_queue()")
    assert rows_of(queue, user) == {}


def test_a_long_history_is_erased_in_bounded_steps(queue: QueueDriver) -> None:
    user = queue.user()
    queue.do(
        "insert into public.rate_limit_tracking (user_id, accepted_at, execution_id)"
        " select %s, now() - n * interval '1 second', gen_random_uuid()"
        " from generate_series(1, 10500) n",
        user.id,
    )
    assert delete(queue, user) == {"state": "erasing", "running": 0, "erased": 10000}
    assert delete(queue, user)["state"] == "deleted"
    assert rows_of(queue, user) == {}
    with pytest.raises(psycopg.Error) as caught:
        delete(queue, user)
    assert caught.value.sqlstate == "PT404"


def test_a_user_who_is_being_deleted_gets_no_token(queue: QueueDriver) -> None:
    user = lived_in(queue)
    queue.claim()
    delete(queue, user)
    answer = queue.value(
        "select public.custom_access_token_hook(%s)",
        f'{{"user_id": "{user.id}", "claims": {{}}, "authentication_method": "password"}}',
    )
    assert answer["error"]["http_code"] == 403


# -- export ---------------------------------------------------------------------------------------


def export(queue: QueueDriver, user: User, dataset: str, size: int = 500) -> list[Row]:
    """All rows of a dataset, page by page, as the user themselves."""
    rows: list[Row] = []
    after: Any = None
    while True:
        with queue.acting_as("authenticated", user.id):
            page = queue.value(
                "select public.export_user_data(null, %s, %s, %s)", dataset, after, size
            )
        rows += page["rows"]
        if page["next"] is None:
            return rows
        assert len(page["rows"]) == size
        after = psycopg.types.json.Jsonb(page["next"])


def test_every_table_with_a_user_is_exported(queue: QueueDriver) -> None:
    exported = {r["relation"] for r in queue.rows("select * from private.export_datasets()")}
    owned = {t["name"] for t in queue.rows(OWNED_TABLES) if t["schema"] == "public"}
    assert exported == owned


def test_an_export_has_every_row_of_the_user_and_of_nobody_else(queue: QueueDriver) -> None:
    user, other = lived_in(queue), queue.user()
    queue.enqueue(other)
    for dataset in queue.rows("select * from private.export_datasets()"):
        rows = export(queue, user, dataset["dataset"], size=1)
        count = queue.value(
            f"select count(*) from public.{dataset['relation']} where user_id = %s", user.id
        )
        assert len(rows) == count, dataset
        assert other.id not in str(rows)
        assert {row["user_id"] for row in rows} <= {user.id}


def test_an_export_begins_with_the_account(queue: QueueDriver) -> None:
    user = queue.user()
    with queue.acting_as("authenticated", user.id):
        overview = queue.value("select public.export_user_data()")
    assert overview["account"]["email"] == f"{user.id}@x.test"
    assert "encrypted_password" not in str(overview)


def test_an_export_holds_no_fence_and_no_hash(queue: QueueDriver) -> None:
    user = lived_in(queue)
    queue.claim()
    for dataset in queue.rows("select * from private.export_datasets()"):
        for row in export(queue, user, dataset["dataset"]):
            assert not {"lease_token", "salt", "content_hash"} & row.keys()


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ({"dataset": "secrets"}, "dataset"),
        ({"dataset": "flows", "max": 0}, "max"),
        ({"dataset": "flows", "after": "[]"}, "after"),
        ({"dataset": "flows", "after": '{"id": "no uuid"}'}, "after"),
        ({"dataset": "flows", "after": "{}"}, "after"),
    ],
)
def test_a_bad_page_is_refused(queue: QueueDriver, arguments: dict[str, Any], names: str) -> None:
    user = queue.user()
    call = ", ".join(f"{name} => %s" for name in arguments)
    with (
        pytest.raises(psycopg.Error, match=names) as caught,
        queue.acting_as("authenticated", user.id),
    ):
        queue.do(f"select public.export_user_data({call})", *arguments.values())
    assert caught.value.sqlstate == "PT400"


def test_nobody_exports_somebody_else(queue: QueueDriver) -> None:
    user, other = queue.user(), queue.user()
    with pytest.raises(psycopg.Error) as caught, queue.acting_as("authenticated", user.id):
        queue.do("select public.export_user_data(%s, 'flows')", other.id)
    assert caught.value.sqlstate == "PT403"
