"""What the tests of people's commands share: new people, a call that runs, a terminal."""

from __future__ import annotations

import os
import pty
import secrets
import subprocess
import sys
import termios
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from supabase import Client, create_client

from flowstate_cli.api import Api, Row
from flowstate_local import LocalStack

from .conftest import FlowState, Person, until

PASSWORD = "correct horse battery"
NOBODY = "00000000-0000-4000-8000-000000000000"


def new_person(api: Api, role: str = "user") -> Person:
    """Who can sign in with PASSWORD."""
    email = f"{secrets.token_hex(6)}@example.com"
    made = api.client.auth.admin.create_user(
        {"email": email, "password": PASSWORD, "email_confirm": True}
    )
    if role != "user":
        api.rpc("set_user_role", {"user_id": made.user.id, "role": role})
    return Person(made.user.id, email)


def only_owner(api: Api) -> Person:
    """A new person who is the one owner that the project has now."""
    others = api.rpc("list_users", {"role": "owner"})
    owner = new_person(api, "owner")
    for other in others:
        api.rpc("set_user_role", {"user_id": other["user_id"], "role": "user"})
    return owner


def profile(api: Api, user_id: str) -> Row:
    """The stored row, to see that nothing was changed."""
    [row] = api.rows(api.table("user_profiles").select("*").eq("user_id", user_id))
    return row


def signed_in(stack: LocalStack, person: Person) -> Client:
    client = create_client(stack.info.api_url, stack.info.publishable_key)
    client.auth.sign_in_with_password({"email": person.email, "password": PASSWORD})
    return client


def claim(api: Api, execution_id: str) -> Row:
    """Claims the execution, and gives back what else was claimed with it."""
    claimed = api.rpc(
        "claim_flow_executions", {"processor_id": "a test", "max": 500, "lease_seconds": 300}
    )
    [mine] = [row for row in claimed if row["execution_id"] == execution_id]
    if others := [_lease(row) for row in claimed if row is not mine]:
        api.rpc("release_flow_executions", {"leases": others})
    return _lease(mine)


def finish(api: Api, lease: Row) -> Any:
    """Ends a claimed attempt as a worker does that was told to cancel it."""
    ended = {**lease, "outcome": "failed", "category": "cancelled"}
    return api.rpc("finish_flow_executions", {"results": [ended]})


def _lease(row: Row) -> Row:
    return {key: row[key] for key in ("execution_id", "attempt", "lease_token")}


@contextmanager
def started(
    flowstate: FlowState, *arguments: str, stdin: int | None = None
) -> Iterator[subprocess.Popen[str]]:
    """A command as a process of its own."""
    others = {k: v for k, v in os.environ.items() if not k.startswith("FLOWSTATE_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "flowstate_cli", *arguments],
        env={**others, **flowstate.environment},
        stdin=subprocess.DEVNULL if stdin is None else stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def on_a_terminal(
    flowstate: FlowState, *arguments: str, typed: Sequence[str], hidden: bool = False
) -> tuple[int, str]:
    """Exit code and stderr of a command at a terminal. A line is typed at each colon it says.

    `hidden`: once it has switched the echo off, as that throws away what was typed before.
    """
    ours, theirs = pty.openpty()
    said = ""
    try:
        with started(flowstate, *arguments, stdin=theirs) as process:
            assert process.stderr
            for line in typed:
                while character := process.stderr.read(1):
                    said += character
                    if said.endswith(":"):
                        break
                if hidden:
                    until(lambda: not termios.tcgetattr(theirs)[3] & termios.ECHO, "no echo")
                os.write(ours, f"{line}\n".encode())
            said += process.stderr.read()
            return process.wait(60), said
    finally:
        os.close(ours)
        os.close(theirs)
