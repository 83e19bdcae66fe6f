"""Fills execution_logs with millions of rows, in partitions of any length."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import psycopg

KEEPERS = 100
"""One user in so many is of the tier that keeps logs for a year."""

_SPANS = """
select greatest(begins_at at time zone 'UTC', %(first)s),
       least(ends_at at time zone 'UTC', %(last)s),
       begins_at at time zone 'UTC', ends_at at time zone 'UTC'
  from generate_series(date_trunc(%(period)s, %(first)s::timestamptz at time zone 'UTC'),
                       %(last)s::timestamptz at time zone 'UTC' - interval '1 microsecond',
                       ('1 ' || %(period)s)::interval) begins_at
 cross join lateral (select begins_at + ('1 ' || %(period)s)::interval as ends_at) e
 order by begins_at
"""

_ROWS = """
insert into partitions.{name}
  (execution_id, attempt, user_id, tier, flow_id, flow_name, flow_kind, flow_version, outcome,
   is_final, input, result, usage, instance_name, processor_id, lease_token,
   queued_at, started_at, finished_at, duration_ms)
select (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0')
        || substr(replace(h::text, '-', ''), 13))::uuid,
       1, md5('user' || u)::uuid, case when u %% %(keepers)s = 0 then 'enterprise' else 'free' end,
       md5('flow' || u)::uuid, 'rows', 'apps_script', 1, 'succeeded', true,
       '{{"text": "hello world"}}',
       '{{"rows": {{"output": [["Invoice 1", "sender@example.com"]]}}}}', '{{"mail": 0}}',
       'bench-1', 'worker-1', h, at, at, at, 900
  from (select %(from)s::timestamptz + n * (%(to)s::timestamptz - %(from)s) / %(count)s as at,
               %(step)s * (1 + floor(random() * (%(users)s / %(step)s)))::integer as u,
               gen_random_uuid() as h
          from generate_series(0, %(count)s - 1) n) made
"""


@dataclass(frozen=True)
class History:
    """The table, on a connection of the schema's owner."""

    connection: psycopg.Connection
    users: int
    period: str
    """Of a partition: day, week or month."""

    def clear(self) -> None:
        """No row, and no partition but the default one."""
        for (name,) in self.connection.execute(
            "select name from private.partitions_of('execution_logs')"
        ).fetchall():
            self.connection.execute(f"drop table partitions.{name}".encode())

    def fill(self, first: datetime, last: datetime, rows: int, *, step: int = 1) -> datetime:
        """So many rows between two moments, of every `step`-th user.

        Returns when the first partition begins: earlier rows can be added up to there.
        """
        values = {"period": self.period, "first": first, "last": last}
        spans = self.connection.execute(_SPANS.encode(), values).fetchall()
        whole = sum((to - since).total_seconds() for since, to, _, _ in spans)
        for since, to, begins_at, ends_at in spans:
            share = (to - since).total_seconds() / whole
            self._partition(begins_at, ends_at, since, to, max(1, round(rows * share)), step)
        begins: datetime = spans[0][2]
        return begins

    def user(self, number: int) -> str:
        """The id of a user, by number from 1; of a keeper if it is a multiple of KEEPERS."""
        row = self.connection.execute("select md5('user' || %s)::uuid::text", (number,)).fetchone()
        assert row
        return str(row[0])

    def partitions(self) -> int:
        """How many there are, with those ahead and the default one."""
        row = self.connection.execute(
            "select count(*) from pg_inherits where inhparent = 'public.execution_logs'::regclass"
        ).fetchone()
        assert row
        return int(row[0])

    def rows(self) -> int:
        """How many rows there are, about."""
        row = self.connection.execute(
            "select sum(c.reltuples)::bigint from pg_class c join pg_inherits h"
            " on h.inhrelid = c.oid where h.inhparent = 'public.execution_logs'::regclass"
        ).fetchone()
        assert row
        return int(row[0])

    def _partition(
        self,
        begins_at: datetime,
        ends_at: datetime,
        since: datetime,
        to: datetime,
        count: int,
        step: int,
    ) -> None:
        name = f"execution_logs_{begins_at:%Y%m%d}"
        values = {"from": since, "to": to, "count": count, "users": self.users, "step": step}
        do = self.connection.execute
        do(
            f"create table partitions.{name}"
            " (like public.execution_logs including defaults including constraints)".encode()
        )
        do(f"alter table partitions.{name} enable row level security".encode())
        do(_ROWS.format(name=name).encode(), values | {"keepers": KEEPERS})
        # Only now: attaching builds the indexes, in one go.
        do(
            f"alter table public.execution_logs attach partition partitions.{name}"
            f" for values from ('{begins_at}') to ('{ends_at}')".encode()
        )
        do(f"vacuum analyze partitions.{name}".encode())
