"""All token verbs at once, on the same users: no deadlock, no mixed-up row."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from random import Random

import psycopg
import pytest
from psycopg.types.json import Jsonb

from flowstate_worker.rules.sealing import KeyRing, Kind
from tests.faults.waiting import until
from tests.sql.driver import QueueDriver, Row
from tests.sql.google import ACCESS, KEYS, REFRESH, RING, Connections, lease, refreshed

RINGS = (RING, KeyRing(KEYS, "k2"))
ROUNDS = 40

Verb = Callable[[Connections, Random, list[str]], None]


def refresh(mine: Connections, rng: Random, _users: list[str]) -> None:
    claimed = mine.claim(6)
    rng.shuffle(claimed)
    results = [refreshed(one, expires_in_seconds=0, ring=rng.choice(RINGS)) for one in claimed]
    if len(results) > 1:
        results[0] = {**lease(claimed[0]), "outcome": "revoked", "reason": "invalid_grant"}
        results[1] = {**lease(claimed[1]), "outcome": "failed", "reason": "network"}
    mine.finish(*results)


def reseal(mine: Connections, rng: Random, _users: list[str]) -> None:
    ring = rng.choice(RINGS)
    rows = mine.queue.rows(
        "select * from public.claim_google_tokens_to_reseal(%s, 12, null)", ring.key_id
    )
    rng.shuffle(rows)
    items: list[Row] = []
    for row in rows:
        owner = row["user_id"]
        item = {"user_id": str(owner), "version": row["version"], "key_id": ring.key_id}
        for kind in Kind:
            name = f"sealed_{kind.value}_token"
            text = row[name] and ring.open(row[name], owner, kind, row["key_id"])
            item[name] = text and ring.seal(text, owner, kind)
        items.append(item)
    mine.queue.rows("select * from public.finish_google_token_reseals(%s)", Jsonb(items))


def read(mine: Connections, rng: Random, users: list[str]) -> None:
    mine.set(
        rng.choice(users),
        "last_used_at = last_used_at - interval '1 hour',"
        " retry_at = case when status = 'failing' then clock_timestamp() end",
    )
    mine.get(*rng.sample(users, len(users)))


def come_and_go(mine: Connections, rng: Random, users: list[str]) -> None:
    user = rng.choice(users)
    if rng.random() < 0.5:
        mine.queue.value("select public.disconnect_google(%s)", user)
    mine.connect(user, expires_in=1, ring=rng.choice(RINGS))


def test_every_verb_at_once_neither_deadlocks_nor_mixes_keys(queue: QueueDriver) -> None:
    queue.do("truncate private.google_tokens")
    users = [Connections(queue).connect(expires_in=1) for _ in range(12)]
    problems: list[BaseException] = []

    def at_it(seed: int, verb: Verb) -> None:
        driver, rng = QueueDriver(queue.url), Random(seed)
        try:
            for _ in range(ROUNDS):
                verb(Connections(driver), rng, users)
        except Exception as problem:
            problems.append(problem)
        finally:
            driver.close()

    verbs: list[Verb] = [refresh, refresh, reseal, reseal, read, come_and_go]
    threads = [threading.Thread(target=at_it, args=(n, verb)) for n, verb in enumerate(verbs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []

    for row in queue.rows("select * from private.google_tokens where key_id is not null"):
        owner, key_id = uuid.UUID(str(row["user_id"])), row["key_id"]
        assert RING.open(row["sealed_refresh_token"], owner, Kind.REFRESH, key_id) == REFRESH
        if row["sealed_access_token"]:
            access = RING.open(row["sealed_access_token"], owner, Kind.ACCESS, key_id)
            assert access.startswith(ACCESS)


@pytest.mark.parametrize("verb", ["finish", "reseal"])
def test_a_batch_takes_its_rows_in_the_order_of_users(queue: QueueDriver, verb: str) -> None:
    """Whatever the order of the items, and of the rows on disk."""
    queue.do("truncate private.google_tokens")
    world = Connections(queue)
    users = sorted(world.connect(expires_in=1) for _ in range(200))
    low, high = users[0], users[-1]
    claimed = sorted(world.claim(1000), key=lambda row: str(row["user_id"]), reverse=True)
    rows = queue.rows("select * from public.claim_google_tokens_to_reseal('k2', 1000, null)")

    queue.do("create temporary table kept as table private.google_tokens")
    queue.do("truncate private.google_tokens")
    queue.do("insert into private.google_tokens select * from kept order by user_id desc")
    queue.do("analyze private.google_tokens")

    holder = psycopg.connect(queue.url)
    holder.execute("select 1 from private.google_tokens where user_id = %s for update", (low,))
    other = QueueDriver(queue.url)
    # A plan that reads the table as it lies on disk, the highest first.
    other.do("set enable_nestloop = off; set enable_mergejoin = off; set enable_indexscan = off")

    def batch() -> None:
        if verb == "finish":
            Connections(other).finish(*(refreshed(one) for one in claimed))
        else:
            items = [{**row, "user_id": str(row["user_id"])} for row in reversed(rows)]
            other.rows("select * from public.finish_google_token_reseals(%s)", Jsonb(items))

    thread = threading.Thread(target=batch)
    thread.start()
    try:
        until(
            lambda: queue.value(
                "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and pid = %s",
                other.connection.info.backend_pid,
            ),
            "the batch waits for the first of its rows",
        )
        # It waits for the lower one without holding the higher one.
        queue.rows("select 1 from private.google_tokens where user_id = %s for update nowait", high)
    finally:
        holder.close()
        thread.join()
        other.close()
