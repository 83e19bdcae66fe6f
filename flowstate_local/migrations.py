"""The official Supabase CLI on the stack's database, and an API that serves what it changed."""

from __future__ import annotations

import os
import secrets
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from flowstate_local import project
from flowstate_local.errors import ComponentFailedError, MigrationsFailedError
from flowstate_local.processes import redact, wait_for

_PUSH_SECONDS = 300.0
_RELOAD_SECONDS = 30.0


def run_cli(command: list[str], database_url: str, *, workdir: Path, home: Path) -> str:
    """Run a `supabase` command against a database, without prompts, telemetry or update checks.

    Args:
        command: such as `["db", "push"]`.
        database_url: of the role `postgres`.
        workdir: holds `supabase/migrations`.
        home: takes the CLI's own files, so that it neither reads nor writes the user's.

    Returns:
        What it printed, without the password.

    Raises:
        MigrationsFailedError: it refused; its output is in the message, without the password.
    """
    home.mkdir(mode=0o700, exist_ok=True)
    password = urlsplit(database_url).password or ""
    environment = {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "HOME": str(home),
        "SUPABASE_HOME": str(home),
        "SUPABASE_TELEMETRY_DISABLED": "1",
        "DO_NOT_TRACK": "1",
        "SUPABASE_NO_UPDATE_NOTIFIER": "1",
        "SUPABASE_NO_KEYRING": "1",
        "PGSSLMODE": "disable",  # loopback
        "PGPASSWORD": password,  # arguments are visible to everybody on the machine
        "NO_COLOR": "1",
    }
    remote = database_url.replace(f":{password}@", "@")
    target = [f"--remote={remote}", "--yes", "--workdir", str(workdir), "--agent", "no"]
    try:
        done = subprocess.run(
            [*project.supabase_cli(), *command, *target],
            env=environment,
            cwd=workdir,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=_PUSH_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise MigrationsFailedError(
            f"`supabase {' '.join(command)}` did not end within {_PUSH_SECONDS:.0f} s"
        ) from error
    output = redact(f"{done.stdout}\n{done.stderr}".strip(), [password] if password else [])
    if done.returncode != 0:
        raise MigrationsFailedError(
            f"`supabase {' '.join(command)}` in {workdir} failed:\n{output}"
        )
    return output


def wait_until_served(admin_url: str, postgrest_url: str, service_role_key: str) -> None:
    """Make PostgREST read the schema again, and wait until it serves what is there now.

    A function made for the purpose, which an older schema cannot know, is asked for until it
    answers.

    Raises:
        ComponentFailedError: PostgREST did not serve it in time.
    """
    name = "served_" + secrets.token_hex(8)
    probe = sql.Identifier("graphql_public", name)
    request = urllib.request.Request(  # noqa: S310 - our own loopback address
        f"{postgrest_url}/rpc/{name}",
        data=b"{}",
        headers={
            "Authorization": f"Bearer {service_role_key}",
            "Content-Profile": "graphql_public",
            "Content-Type": "application/json",
        },
    )
    with psycopg.connect(admin_url, autocommit=True) as connection:
        connection.execute(
            sql.SQL("create function {}() returns boolean language sql return true").format(probe)
        )
        try:
            connection.execute("notify pgrst, 'reload schema'")
            if not wait_for(lambda: answers(request), seconds=_RELOAD_SECONDS):
                raise ComponentFailedError(
                    f"PostgREST did not serve the new schema within {_RELOAD_SECONDS:.0f} s; "
                    "see logs/postgrest.log in the stack's folder"
                )
        finally:
            connection.execute(sql.SQL("drop function {}()").format(probe))


def answers(request: urllib.request.Request) -> bool:
    """Whether a loopback request gets a 2xx now. Proxies of the environment are not asked."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=5) as response:
            return bool(200 <= response.status < 300)
    except (OSError, urllib.error.URLError):
        return False
