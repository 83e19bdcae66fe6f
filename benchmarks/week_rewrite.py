"""Retention at work: a tier is removed from whole weeks of a long history."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from datetime import datetime
from typing import Any

import psycopg


def rewrite(connection: psycopg.Connection, week: str, tier: str) -> dict[str, Any]:
    """What housekeeping takes to remove a tier from a whole week."""
    connection.execute("update public.subscription_tiers set log_retention_days = 365")
    connection.execute(
        "update public.subscription_tiers set log_retention_days = 7 where tier = %s", (tier,)
    )
    # All other weeks are as if it had been done.
    connection.execute(
        "insert into private.history_rewrites (partition, gone) select p.name, array[%s]"
        " from private.partitions_of('execution_logs') p where p.name <> %s"
        " on conflict (partition) do update set gone = excluded.gone",
        (tier, week),
    )
    [(size, rows)] = connection.execute(
        "select pg_table_size(c.oid), c.reltuples::bigint from pg_class c where c.relname = %s",
        (week,),
    ).fetchall()
    calls, copied, exchanged, exchanged_in = [], 0, None, 0.0
    while exchanged is None:
        started = time.perf_counter()
        [[answer]] = connection.execute("select private.copy_history('1 second')").fetchall()
        if answer["copied"]:
            calls.append(time.perf_counter() - started)
        copied += answer["copied"]
        started = time.perf_counter()
        # Given up while autovacuum looks at the copy, as in housekeeping.
        with suppress(psycopg.errors.LockNotAvailable), connection.transaction():
            [[exchanged]] = connection.execute("select private.exchange_history()").fetchall()
            # The files of the old partition go after the commit, when no lock is held any more.
            exchanged_in = time.perf_counter() - started
    figures = {
        "rows": rows,
        "mb": round(size / 1e6),
        "rows_kept": copied,
        "calls": len(calls),
        "seconds": round(sum(calls), 1),
        "longest_call_seconds": round(max(calls), 2),
        "exchange_ms": round(1e3 * exchanged_in, 1),
    }
    print(json.dumps(figures), flush=True)
    return figures


def rewrites(connection: psycopg.Connection, begins: datetime) -> list[dict[str, Any]]:
    """Two whole weeks: little stays of one, and nearly all of the other."""
    weeks = connection.execute(
        "select p.name from private.partitions_of('execution_logs') p"
        " where p.from_moment > %s order by p.from_moment limit 2",
        (begins,),
    ).fetchall()
    return [
        rewrite(connection, week, tier)
        for (week,), tier in zip(weeks, ("free", "enterprise"), strict=True)
    ]
