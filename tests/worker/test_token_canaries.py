"""No sink holds a readable token, a key or the client's secret, whatever happens to them."""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from psycopg import sql

from flowstate_local import LocalStack
from flowstate_worker.rules.sealing import KeyRing, new_key, read_keys
from tests.faults.waiting import until
from tests.sql.google import KEY_TEXTS
from tests.worker.test_start import start
from tests.worker.tokens import TokenWorld, token_world

PARTS = ("postgres", "postgrest", "functions", "simulator", "gateway")


@pytest.fixture
def world(stack: LocalStack) -> Iterator[TokenWorld]:
    with token_world(stack) as made:
        yield made


def environment(world: TokenWorld, **changes: str) -> dict[str, str]:
    return {
        **world.stack.info.environment(),
        "FLOWSTATE_TOKEN_KEYS": json.dumps(KEY_TEXTS),
        "FLOWSTATE_TOKEN_KEY_ID": "k1",
        "FLOWSTATE_GOOGLE_CLIENT_ID": world.client.id,
        "FLOWSTATE_GOOGLE_CLIENT_SECRET": world.client.secret,
        "FLOWSTATE_GOOGLE_TOKEN_URL": world.google.token_url,
        "FLOWSTATE_TOKEN_REFRESH_SECONDS": "0.1",
        "FLOWSTATE_LOG_LEVEL": "debug",
        "FLOWSTATE_LOG_FORMAT": "json",
        "FLOWSTATE_REALTIME": "false",
        **changes,
    }


def worker_said(
    world: TokenWorld, log: Path, done: Callable[[], bool], **changes: str
) -> tuple[str, str]:
    """Runs a worker's process until `done`; its log and its metrics."""
    process = start(log, **environment(world, **changes))
    try:
        until(lambda: done() or process.poll() is not None, "the worker has done it")
        [port] = [
            line["port"]
            for line in map(json.loads, log.read_text().splitlines())
            if line["event"] == "status_server"
        ]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            metrics = answer.read().decode()
    finally:
        process.terminate()
        process.wait(30)
    return log.read_text(), metrics


def flowstate(world: TokenWorld, *arguments: str, stdin: str = "", **changes: str) -> str:
    """All that a command says."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("FLOWSTATE_")}
    done = subprocess.run(
        [sys.executable, "-m", "flowstate_cli", *arguments],
        env={**inherited, **environment(world, **changes)},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout + done.stderr


def api_says(world: TokenWorld, name: str, arguments: dict[str, Any]) -> str:
    """What PostgREST answers, through the gateway, to a call with the secret key."""
    key = world.stack.info.secret_key
    url = f"{world.stack.info.api_url}/rest/v1/rpc/{name}"
    answer = httpx.post(url, json=arguments, headers={"apikey": key}, timeout=30)
    assert answer.status_code >= 400, answer.text
    return answer.text


def all_rows(world: TokenWorld) -> Iterator[tuple[str, str]]:
    """Every row of every table, as text."""
    tables = world.queue.rows(
        "select n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        " where c.relkind = 'r' and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'"
    )
    for table in tables:
        name = sql.Identifier(table["nspname"], table["relname"])
        query = sql.SQL("select to_jsonb(t)::text as row from {} t").format(name)
        for row in world.queue.connection.execute(query).fetchall():
            yield f"{table['nspname']}.{table['relname']}", row["row"]


def test_no_token_key_or_secret_reaches_any_sink(world: TokenWorld, tmp_path: Path) -> None:
    google = world.google
    lost_key = new_key()
    well, withdrawn, faulty, moved = (world.person() for _ in range(4))
    lost = world.person(ring=KeyRing(read_keys({"lost": lost_key})))
    google.withdraw(withdrawn.refresh_token)
    google.fault("internal_failure", refresh_token=faulty.refresh_token)
    world.connections.set(
        moved.id,
        "sealed_refresh_token = (select o.sealed_refresh_token from private.google_tokens o"
        f" where o.user_id = '{well.id}')",
    )

    def is_over() -> bool:
        states = {
            well: ("active", None),
            withdrawn: ("revoked", "invalid_grant"),
            faulty: ("failing", "google_unavailable"),
            moved: ("failing", "tampered"),
            lost: ("failing", "unknown_key"),
        }
        rows = {person: world.row(person) for person in states}
        return rows[well]["version"] == 2 and all(
            (rows[person]["status"], rows[person]["reason"]) == state
            for person, state in states.items()
        )

    said: dict[str, str] = {}
    said["log"], said["metrics"] = worker_said(world, tmp_path / "log", is_over)
    assert is_over()
    assert "token_refreshes_total" in said["metrics"]

    late = world.person()
    refused_log = tmp_path / "refused"
    said["refused"], said["refused metrics"] = worker_said(
        world,
        refused_log,
        lambda: "google_client_refused" in refused_log.read_text(),
        FLOWSTATE_GOOGLE_CLIENT_SECRET="GOCSPX-CANARY-wrong",
    )
    assert "google_client_refused" in said["refused"]

    answer = google.consent(world.client)
    user = ("--user", late.id)
    connect = ("tokens", "connect", *user, "--file", "-")
    said["connect"] = flowstate(world, *connect, stdin=json.dumps(answer))
    said["connect badly"] = flowstate(world, *connect, stdin=json.dumps(answer)[:-9])
    said["no keys"] = flowstate(world, *connect, stdin=json.dumps(answer), FLOWSTATE_TOKEN_KEYS="x")
    said["status"] = flowstate(world, "tokens", "status")
    said["rotate"] = flowstate(world, "tokens", "rotate-keys", FLOWSTATE_TOKEN_KEY_ID="k2")
    said["disconnect"] = flowstate(world, "tokens", "disconnect", *user, "--yes")
    said["doctor"] = flowstate(world, "doctor")
    assert "here and at Google" in said["disconnect"]

    # Readable tokens where sealed ones belong: refused, and not repeated by the refusal.
    readable = {"key_id": "k1", "sealed_refresh_token": well.refresh_token}
    said["store"] = api_says(world, "store_google_tokens", {"user_id": well.id, **readable})
    ended = {"user_id": well.id, "lease_token": well.id, "outcome": "refreshed", **readable}
    said["finish"] = api_says(
        world,
        "finish_google_token_refreshes",
        {"results": [{**ended, "sealed_access_token": well.access_token}]},
    )
    said["reseal"] = api_says(
        world, "finish_google_token_reseals", {"items": [{**ended, "version": 1}]}
    )
    for part in PARTS:
        said[f"log of {part}"] = world.stack.log(part).read_text(errors="replace")

    summary = google.summary()["grants"]
    secrets = {
        *KEY_TEXTS.values(),
        lost_key,
        world.client.secret,
        "GOCSPX-CANARY-wrong",
        *(grant["refresh_token"] for grant in summary),
        *(token for grant in summary for token in grant["access_tokens"]),
    }
    assert len(secrets) > 10
    leaks = [
        (where, secret[:8]) for where, text in said.items() for secret in secrets if secret in text
    ]
    leaks += [
        (table, secret[:8]) for table, row in all_rows(world) for secret in secrets if secret in row
    ]
    assert leaks == []
    for person in (well, withdrawn, faulty, moved, lost):
        assert person.id not in said["metrics"]


def test_the_search_finds_what_is_there(world: TokenWorld) -> None:
    """Without this, an empty search would pass for a clean one."""
    world.queue.do(
        "select private.record_activity('google.connected', %s, 'google_token', null, %s::jsonb)",
        world.connections.user(),
        json.dumps({"canary": "1//0CANARY"}),
    )
    found = [table for table, row in all_rows(world) if "1//0CANARY" in row]
    assert found
    assert all(table.startswith("partitions.user_activity_logs") for table in found)
