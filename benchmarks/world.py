"""A throw-away stack with users, flows, instances and a backlog, and the switches of a run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg

from flowstate_local import LocalStack, StackInfo

FLOW = {
    "steps": [
        {
            "name": "rows",
            "type": "transform",
            "args": {"each": ["a", "b", "c"], "template": ["{{item}}", "{{input.text}}"]},
        }
    ]
}
INPUT = {"text": "x" * 480}
"""About 500 bytes as JSON."""

SLOTS_PER_OWNER = 28
"""The most that the queue lets an owner have; Apps Script itself stops at 30."""


class World:
    """One stack's database, seen as its owner."""

    def __init__(self, stack: LocalStack) -> None:
        self.info: StackInfo = stack.info
        self._stack = stack
        self._connection = psycopg.connect(self.info.db_url, autocommit=True)

    def close(self) -> None:
        self._connection.close()

    def do(self, statement: str, *values: Any) -> None:
        self._connection.execute(statement.encode(), values)

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._connection.execute(statement.encode(), values).fetchall()

    def value(self, statement: str, *values: Any) -> Any:
        row = self._connection.execute(statement.encode(), values).fetchone()
        return row[0] if row else None

    # -- what a run needs ----------------------------------------------------------------------

    def add_users(self, count: int, *, tier: str = "enterprise") -> None:
        """So many users of the tier, each with the flow."""
        self.do(
            "insert into auth.users (id, aud, role, email, created_at, updated_at)"
            " select id, 'authenticated', 'authenticated', id || '@example.com', now(), now()"
            " from (select gen_random_uuid() as id from generate_series(1, %s)) made",
            count,
        )
        self.do("update public.user_profiles set tier = %s", tier)
        self.do(
            "insert into public.flows (user_id, name, definition)"
            " select user_id, 'rows', %s from public.user_profiles on conflict do nothing",
            json.dumps(FLOW),
        )

    def add_instances(self, slots: int, hosts: Sequence[str], *, per_owner: int = 2) -> str:
        """Instances on `hosts[0]` with at least so many slots over all owners; one's address.

        `hosts` go on the allow-list of the queue.
        """
        owners = -(-slots // SLOTS_PER_OWNER)
        self.do(
            "update public.load_balancer_config"
            " set allowed_hosts = allowed_hosts || %s, global_max_in_flight = 100000",
            list(hosts),
        )
        self.do(
            "insert into public.apps_script_owners (owner, max_in_flight)"
            " select format('owner-%%s@example.com', n), %s from generate_series(1, %s) n",
            SLOTS_PER_OWNER,
            owners,
        )
        self.do(
            "insert into public.apps_script_instances (name, owner, url, max_in_flight)"
            " select format('bench-%%s', n), format('owner-%%s@example.com', 1 + n %% %s),"
            " format('http://%%s/macros/s/bench-%%s/exec', %s::text, n), %s"
            " from generate_series(1, %s) n",
            owners,
            hosts[0],
            SLOTS_PER_OWNER,
            owners * per_owner,
        )
        return f"http://{hosts[0]}/macros/s/bench-1/exec"

    def no_instances(self) -> None:
        """Forget those of the level before. Nothing may be in flight."""
        self.do("truncate public.apps_script_instances, public.apps_script_owners cascade")

    def fill(self, available: int) -> None:
        """Queue executions, spread over all users, until so many are available.

        They are inserted beside admission, whose quotas would refuse so many.
        """
        missing = available - self.available()
        if missing <= 0:
            return
        self.do(
            "with turns as ("
            "  select f.*, row_number() over () - 1 as turn from public.flows f), "
            "queued as ("
            "  insert into public.flow_execution_queue"
            "    (id, user_id, flow_id, flow_version, state, max_attempts, run_at, input)"
            "  select private.new_execution_id(), t.user_id, t.id, t.version, 'available',"
            "         t.max_attempts, now(), %s"
            "    from generate_series(0, %s - 1) n join turns t on t.turn = n %% %s"
            "  returning user_id) "
            "insert into private.user_queue as u"
            "  (user_id, tier, weight, max_running, available)"
            " select q.user_id, t.tier, t.weight, t.max_running, count(*)"
            "   from queued q"
            "   join public.user_profiles p on p.user_id = q.user_id"
            "   join public.subscription_tiers t on t.tier = p.tier"
            "  group by q.user_id, t.tier, t.weight, t.max_running"
            " on conflict (user_id) do update set available = u.available + excluded.available",
            json.dumps(INPUT),
            missing,
            self.value("select count(*) from public.flows"),
        )
        self.do("vacuum (analyze) public.flow_execution_queue, private.user_queue")

    def empty(self) -> None:
        """No execution is left, and none is remembered. Nothing may be in flight."""
        self.do(
            "truncate public.flow_execution_queue, public.execution_logs, public.dead_letters,"
            " public.rate_limit_tracking, private.user_queue, private.idempotency_keys"
        )

    # -- while it runs -------------------------------------------------------------------------

    def pause(self) -> None:
        """Nothing is claimed any more; what runs goes on."""
        self.do("update public.load_balancer_config set paused_at = now()")

    def resume(self) -> None:
        """Claims go on, and idle workers look at once if they listen."""
        self.do("update public.load_balancer_config set paused_at = null")
        self.do("select realtime.send('{}'::jsonb, 'wake', 'flowstate:queue', true)")

    def available(self) -> int:
        return int(self.value("select coalesce(sum(available), 0) from private.user_queue"))

    def running(self) -> int:
        return int(self.value("select coalesce(sum(running), 0) from private.user_queue"))

    def succeeded(self) -> int:
        """Outcomes that the queue has accepted as successes."""
        return int(
            self.value("select count(*) from public.execution_logs where outcome = 'succeeded'")
        )

    def api_calls(self) -> dict[str, int]:
        """Calls of functions that the gateway has passed on so far, by name: from its log."""
        counts: dict[str, int] = {}
        for line in self._stack.log("gateway").read_text().splitlines():
            _, found, rest = line.partition(" /rest/v1/rpc/")
            if found:
                name = rest.split(" ", 1)[0]
                counts[name] = counts.get(name, 0) + 1
        return counts

    def transactions(self) -> int:
        """Those that have ended in this database, of anyone."""
        return int(
            self.value(
                "select xact_commit + xact_rollback from pg_stat_database"
                " where datname = current_database()"
            )
        )

    def request_body(self) -> dict[str, Any]:
        """What the worker sends of an execution, but for its id."""
        flow_id, name, deadline = self.rows(
            "select id::text, name, deadline_seconds from public.flows limit 1"
        )[0]
        return {
            "op": "run",
            "attempt": 1,
            "instance": "bench-1",
            "flow": {"id": flow_id, "name": name},
            "steps": FLOW["steps"],
            "input": INPUT,
            "deadlineMs": deadline * 1000,
        }


@contextmanager
def open_world(components: Sequence[str] = ("postgres", "postgrest", "gateway")) -> Iterator[World]:
    """A stack of its own, with all migrations, gone after the block. Commits reach the disk."""
    with LocalStack.throw_away(components=components, durable=True) as stack:
        stack.push_migrations()
        world = World(stack)
        try:
            yield world
        finally:
            world.close()
