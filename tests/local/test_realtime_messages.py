"""realtime.messages as migrations use it, and the notification that the gateway delivers from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql

from flowstate_local import LocalStack


@pytest.fixture(scope="module")
def plain() -> Iterator[LocalStack]:
    """A stack without any migration."""
    with LocalStack.throw_away(components=("postgres",)) as stack:
        yield stack


@pytest.fixture
def sender(plain: LocalStack) -> Iterator[psycopg.Connection]:
    with psycopg.connect(plain.info.db_url, autocommit=True) as connection:
        yield connection
        connection.execute("truncate realtime.messages")


@pytest.fixture
def listener(plain: LocalStack) -> Iterator[psycopg.Connection]:
    with psycopg.connect(plain.info.admin_db_url, autocommit=True) as connection:
        connection.execute("listen realtime_messages")
        yield connection


def _heard(listener: psycopg.Connection) -> list[Any]:
    """What was notified up to now: a marker of our own comes last."""
    listener.execute("select pg_notify('realtime_messages', '\"end\"')")
    heard: list[Any] = []
    for notification in listener.notifies(timeout=20):
        body = json.loads(notification.payload)
        if body == "end":
            return heard
        heard.append(body)
    raise AssertionError("the marker did not arrive")


def _send(sender: psycopg.Connection, count: int = 1, payload: str = "{}") -> None:
    sender.execute(
        "insert into realtime.messages (topic, event, payload, private, extension)"
        " select 'room', 'said', %s::jsonb, true, 'broadcast' from generate_series(1, %s)",
        (payload, count),
    )


def test_a_sent_message_is_notified_with_what_it_holds(
    sender: psycopg.Connection, listener: psycopg.Connection
) -> None:
    sender.execute("""select realtime.send('{"a": 1}', 'said', 'room', false)""")
    ((message,),) = _heard(listener)
    assert message.items() >= {"topic": "room", "event": "said", "private": False}.items()
    assert message["payload"] == {"a": 1, "id": message["id"]}


def test_a_message_is_private_unless_said_otherwise(
    sender: psycopg.Connection, listener: psycopg.Connection
) -> None:
    sender.execute("select realtime.send('{}', 'said', 'room')")
    ((message,),) = _heard(listener)
    assert message["private"] is True


def test_the_messages_of_one_statement_come_in_one_notification(
    sender: psycopg.Connection, listener: psycopg.Connection
) -> None:
    _send(sender, count=5)
    (messages,) = _heard(listener)
    assert len(messages) == 5


def test_what_does_not_fit_is_notified_by_ids(
    sender: psycopg.Connection, listener: psycopg.Connection
) -> None:
    _send(sender, payload=json.dumps({"text": "x" * 9000}))
    _send(sender, count=400)
    heard = _heard(listener)
    told = [identifier for body in heard for identifier in body["ids"]]
    rows = sender.execute("select id::text from realtime.messages").fetchall()
    assert sorted(told) == sorted(row[0] for row in rows)
    assert len(told) == 401


def test_a_rolled_back_message_is_not_notified(
    sender: psycopg.Connection, listener: psycopg.Connection
) -> None:
    with sender.transaction(force_rollback=True):
        _send(sender)
    assert _heard(listener) == []


def test_sending_never_fails_the_transaction_of_the_sender(sender: psycopg.Connection) -> None:
    warnings: list[str] = []
    sender.add_notice_handler(lambda notice: warnings.append(notice.message_primary or ""))
    with sender.transaction():
        sender.execute("set local role authenticated")  # whom no policy lets send
        sender.execute("select realtime.send('{}', 'said', 'room', true)")
    assert any(text.startswith("ErrorSendingBroadcastMessage") for text in warnings)


def test_a_changed_row_is_broadcast(
    sender: psycopg.Connection, listener: psycopg.Connection
) -> None:
    with sender.transaction(force_rollback=False):
        sender.execute("create table if not exists public.things (id int, word text)")
        sender.execute(
            "create or replace function public.tell() returns trigger language plpgsql as $$ begin"
            " perform realtime.broadcast_changes('room', tg_op, tg_op, tg_table_name,"
            " tg_table_schema, new, old); return null; end $$"
        )
        sender.execute(
            "create or replace trigger tell after insert or update or delete on public.things"
            " for each row execute function public.tell()"
        )
    sender.execute("insert into public.things values (1, 'a')")
    sender.execute("update public.things set word = 'b'")
    sender.execute("delete from public.things")
    payloads = [messages[0]["payload"] for messages in _heard(listener)]
    a, b = {"id": 1, "word": "a"}, {"id": 1, "word": "b"}
    told = [(each["operation"], each["record"], each["old_record"]) for each in payloads]
    assert told == [("INSERT", a, None), ("UPDATE", b, a), ("DELETE", None, b)]
    assert {(each["schema"], each["table"]) for each in payloads} == {("public", "things")}


def test_policies_decide_who_reads_and_writes_a_topic(sender: psycopg.Connection) -> None:
    sender.execute(
        "create policy members on realtime.messages for select to authenticated"
        " using (realtime.topic() = 'room')"
    )
    try:
        _send(sender)
        for topic, seen in (("room", 1), ("other", 0)):
            with sender.transaction():
                sender.execute("set local role authenticated")
                sender.execute("select set_config('realtime.topic', %s, true)", (topic,))
                row = sender.execute("select count(*) from realtime.messages").fetchone()
            assert row == (seen,)
    finally:
        sender.execute("drop policy members on realtime.messages")


def test_no_message_is_refused_for_want_of_a_partition(sender: psycopg.Connection) -> None:
    sender.execute(
        "insert into realtime.messages (topic, extension, inserted_at)"
        " values ('room', 'broadcast', '2020-01-01')"
    )
    row = sender.execute("select tableoid::regclass::text from realtime.messages").fetchone()
    assert row == ("realtime.messages_default",)


def test_partitions_are_prepared_and_old_ones_dropped(plain: LocalStack) -> None:
    with psycopg.connect(plain.info.admin_db_url, autocommit=True) as admin:
        admin.execute(
            "create table realtime.messages_2020_01_01 partition of realtime.messages"
            " for values from ('2020-01-01') to ('2020-01-02')"
        )
        # A row of tomorrow, which the default partition took while tomorrow's was missing.
        tomorrow = admin.execute("select (now() + interval '1 day')::date").fetchone()
        assert tomorrow
        name = f"messages_{tomorrow[0]:%Y_%m_%d}"
        admin.execute(sql.SQL("drop table {}").format(sql.Identifier("realtime", name)))
        admin.execute(
            "insert into realtime.messages (topic, extension, inserted_at) values ('t', 'b', %s)",
            (tomorrow[0],),
        )
    plain.stop()
    plain.start()
    with psycopg.connect(plain.info.db_url) as connection:
        rows = connection.execute(
            "select relname from pg_class join pg_inherits on inhrelid = oid"
            " where inhparent = 'realtime.messages'::regclass"
        ).fetchall()
    names = {row[0] for row in rows}
    assert "messages_2020_01_01" not in names
    assert name in names
    assert len(names) == 5  # today, three more days, and the default one
