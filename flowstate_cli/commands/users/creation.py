"""`flowstate users create`: so that a new project gets its first owner, and a local one people."""

from __future__ import annotations

import secrets
import sys
from typing import Annotated

import typer

from flowstate_cli.api import Api, Row, open_api
from flowstate_cli.commands.users.arguments import Role, require_tier
from flowstate_cli.errors import BadInputError, CliError
from flowstate_cli.output import JsonFlag, emit_fields, emit_json, say

_GENERATED_BYTES = 18


def create(
    email: Annotated[str, typer.Argument(help="The e-mail address.", show_default=False)],
    *,
    tier: Annotated[str, typer.Option("--tier", help="See: flowstate tiers list")] = "free",
    role: Annotated[
        Role, typer.Option("--role", help="`owner` makes the first owner of a project.")
    ] = Role.USER,
    password_stdin: Annotated[
        bool,
        typer.Option(
            "--password-stdin", help="Read the password from stdin instead of making one."
        ),
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Make a user who can sign in at once: the address counts as confirmed.

    Calls the project's Auth, then set_user_tier and set_user_role. A password that is made here
    is shown once and kept nowhere.

    Exit codes: 0 made; 1 the address is taken, or the password too weak; 2 bad input, such as a
    tier that is not there; 3 no API.

    Example: flowstate users create ana@example.com --role owner
    """
    _check_email(email)
    password = _read_password() if password_stdin else secrets.token_urlsafe(_GENERATED_BYTES)
    with open_api() as api:
        require_tier(api, tier)
        made = _make(api, email, password, tier, role)
    shown = {} if password_stdin else {"password": password}
    if as_json:
        emit_json({**made, **shown})
        return
    emit_fields({"user": made["user_id"], "tier": tier, "role": role.value, **shown})
    if shown:
        say("The password is shown this once.")


def _make(api: Api, email: str, password: str, tier: str, role: Role) -> Row:
    with api.explained():
        answer = api.client.auth.admin.create_user(
            {"email": email, "password": password, "email_confirm": True}
        )
    user_id = answer.user.id
    made: Row = {"user_id": user_id, "email": email, "tier": tier, "role": role.value}
    try:
        if tier != "free":
            api.rpc("set_user_tier", {"user_id": user_id, "tier": tier})
        if role is not Role.USER:
            api.rpc("set_user_role", {"user_id": user_id, "role": role.value})
    except CliError as error:
        error.hint = f"The user {user_id} was made. {error.hint}".strip()
        raise
    return made


def _check_email(email: str) -> None:
    name, at, host = email.partition("@")
    if not (name and at and host) or "@" in host or any(c.isspace() for c in email):
        raise BadInputError(f"{email[:80]!r} is no e-mail address.", field="email")


def _read_password() -> str:
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise BadInputError("stdin holds no password.", field="--password-stdin")
    return password
