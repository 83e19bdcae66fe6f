"""A thin driver for the SQL functions: users, flows, instances, and the verbs as plain methods."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import Jsonb

Row = dict[str, Any]

SEARCH_FLOW: Mapping[str, Any] = {
    "steps": [{"name": "find", "type": "gmail.search", "args": {"query": "is:unread"}}]
}

HOT_TABLES = (
    "public.flow_execution_queue",
    "public.execution_logs",
    "public.dead_letters",
    "public.rate_limit_tracking",
    "public.user_limit_overrides",
    "public.queue_processors",
    "private.flow_windows",
    "private.user_queue",
    "private.idempotency_keys",
)


@dataclass(frozen=True)
class User:
    """A user of a tier with one flow."""

    id: str
    flow_id: str


class QueueDriver:
    """One connection as the owner of the schema, with the verbs of the queue as methods."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.connection: psycopg.Connection[DictRow] = psycopg.connect(
            url, autocommit=True, row_factory=dict_row
        )

    def close(self) -> None:
        self.connection.close()

    # -- plain SQL ---------------------------------------------------------------------------

    def rows(self, query: str, *values: Any) -> list[Row]:
        return self.connection.execute(query.encode(), values).fetchall()

    def value(self, query: str, *values: Any) -> Any:
        row = self.connection.execute(query.encode(), values).fetchone()
        return None if row is None else next(iter(row.values()))

    def do(self, query: str, *values: Any) -> None:
        self.connection.execute(query.encode(), values)

    @contextmanager
    def acting_as(self, role: str, user_id: str | None = None) -> Iterator[None]:
        """Everything inside runs as PostgREST would run it for a token of this role and user."""
        claims = json.dumps({"role": role} | ({"sub": user_id} if user_id else {}))
        with self.connection.transaction():
            self.connection.execute(
                "select set_config('request.jwt.claims', %s, true), set_config('role', %s, true)",
                (claims, role),
            )
            yield

    # -- the world ---------------------------------------------------------------------------

    def empty(self) -> None:
        """Leave nothing queued, no history and no instances, and the balancer as it was made."""
        self.do(f"truncate {', '.join(HOT_TABLES)}")
        self.do("delete from public.apps_script_instances")
        self.do("delete from public.apps_script_owners")
        self.do(
            "update public.load_balancer_config set global_max_in_flight = 1000, paused_at = null,"
            " retry_base_seconds = 2, allowed_hosts = array['script.google.com']"
        )
        self.do("update private.queue_state set virtual_time = 0")
        self.do("update private.wake_ups set woken_at = '-infinity'")

    def user(self, tier: str = "free", **flow: Any) -> User:
        user_id = str(uuid.uuid4())
        self.do("insert into auth.users (id, email) values (%s, %s)", user_id, f"{user_id}@x.test")
        self.do("update public.user_profiles set tier = %s where user_id = %s", tier, user_id)
        return User(user_id, self.flow(user_id, **flow))

    def flow(
        self, user_id: str, definition: Mapping[str, Any] = SEARCH_FLOW, **columns: Any
    ) -> str:
        names = ["user_id", "name", "definition", *columns]
        values = [user_id, f"flow {uuid.uuid4()}", Jsonb(definition), *columns.values()]
        marks = ", ".join(["%s"] * len(values))
        return str(
            self.value(
                f"insert into public.flows ({', '.join(names)}) values ({marks}) returning id",
                *values,
            )
        )

    def instances(self, *per_owner: int, slots: int = 20, owner_slots: int = 28) -> list[str]:
        """So many instances for each owner in turn; answers their ids."""
        ids: list[str] = []
        insert = (
            "insert into public.apps_script_instances (name, owner, url, max_in_flight)"
            " values (%s, %s, %s, %s) returning id"
        )
        for n, count in enumerate(per_owner):
            self.do(
                "insert into public.apps_script_owners (owner, max_in_flight) values (%s, %s)",
                f"owner-{n}",
                owner_slots,
            )
            for m in range(count):
                name = f"i-{n}-{m}"
                url = f"https://script.google.com/macros/s/{name}/exec"
                ids.append(str(self.value(insert, name, f"owner-{n}", url, slots)))
        return ids

    # -- the verbs ---------------------------------------------------------------------------

    def enqueue(self, user: User, flow_id: str | None = None, **arguments: Any) -> Row:
        names = ["flow_id", *arguments]
        values = [flow_id or user.flow_id, *arguments.values()]
        values = [Jsonb(v) if isinstance(v, dict | list) else v for v in values]
        call = ", ".join(f"{name} => %s" for name in names)
        with self.acting_as("authenticated", user.id):
            answer = self.value(f"select public.enqueue_flow_execution({call})", *values)
        assert isinstance(answer, dict)
        return answer

    def enqueue_many(self, items: list[Row]) -> list[Row]:
        return self.rows("select * from public.enqueue_flow_executions(%s)", Jsonb(items))

    def claim(self, most: int = 100, processor: str = "p1", lease: int = 30) -> list[Row]:
        return self.rows(
            "select * from public.claim_flow_executions(%s, %s, %s)", processor, most, lease
        )

    def finish(self, *items: Row) -> list[Row]:
        return self.rows("select * from public.finish_flow_executions(%s)", Jsonb(list(items)))

    def live(self, execution_id: Any) -> Row | None:
        found = self.rows("select * from public.flow_execution_queue where id = %s", execution_id)
        return found[0] if found else None

    def logs(self, execution_id: Any) -> list[Row]:
        return self.rows(
            "select * from public.execution_logs where execution_id = %s order by finished_at",
            execution_id,
        )

    def counters_are_true(self) -> bool:
        """Whether every user's counters equal what their rows say."""
        return not self.rows(
            "select 1 from private.user_queue u left join ("
            "  select user_id, count(*) filter (where state = 'running') as running,"
            "         count(*) filter (where state = 'available') as available"
            "    from public.flow_execution_queue group by user_id) q using (user_id)"
            " where u.running <> coalesce(q.running, 0) or u.available <> coalesce(q.available, 0)"
        )

    def expire_leases(self) -> None:
        self.do(
            "update public.flow_execution_queue set lease_expires_at = clock_timestamp()"
            " - interval '1 second' where state = 'running'"
        )


def result(claimed: Row, outcome: str, **fields: Any) -> Row:
    """The item that ends a claimed attempt."""
    return {**lease(claimed), "outcome": outcome, **fields}


def lease(claimed: Row) -> Row:
    """The fence of a claimed attempt."""
    return {
        "execution_id": str(claimed["execution_id"]),
        "attempt": claimed["attempt"],
        "lease_token": str(claimed["lease_token"]),
    }
