"""`flowstate instances`: the pool of Apps Script deployments."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated
from urllib.parse import urlsplit

import typer
from rich.markup import escape

from flowstate_cli.api import Row, open_api
from flowstate_cli.errors import BadInputError, CliError, RefusedError
from flowstate_cli.output import JsonFlag, emit_fields, emit_json, emit_table, say
from flowstate_cli.pool import allow_host, save_owner
from flowstate_cli.settings import EXEC_HOSTS, INSTANCE_KEYS

app = typer.Typer(
    name="instances", no_args_is_help=True, help="The Apps Script deployments that run flows."
)

_PATH = re.compile(r"/(a/macros/[^/]+|macros)/s/[A-Za-z0-9_-]+/exec")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,40}")
_FORM = "https://script.google.com/macros/s/<deployment id>/exec"


class AccountType(StrEnum):
    """Google's two sets of quotas."""

    CONSUMER = "consumer"
    WORKSPACE = "workspace"


@app.command("add")
def add(
    name: Annotated[
        str,
        typer.Argument(
            help="Also the script property INSTANCE_NAME: lower-case letters, digits, . _ -",
            show_default=False,
        ),
    ],
    *,
    url: Annotated[str, typer.Option("--url", help=f"The web app: {_FORM}")],
    owner: Annotated[
        str, typer.Option("--owner", help="The Google account that owns the deployment.")
    ],
    account_type: Annotated[
        AccountType, typer.Option("--account-type", help="Of a new owner: sets its quotas.")
    ] = AccountType.CONSUMER,
    key_id: Annotated[
        str, typer.Option("--key-id", help="Which key signs the calls; the script's HMAC_<id>.")
    ] = "k1",
    max_in_flight: Annotated[
        int, typer.Option("--max-in-flight", min=1, max=1000, help="Calls at once.")
    ] = 20,
    weight: Annotated[
        int, typer.Option("--weight", min=1, max=1000, help="Share of the calls.")
    ] = 1,
    allow: Annotated[
        bool, typer.Option("--allow-host", help="Put the URL's host on the allow-list first.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Add a deployment to the pool, and its owner if that is new.

    Writes apps_script_instances, apps_script_owners, and with --allow-host the allow-list in
    load_balancer_config. The signing secret is not stored: it stays in the script's properties
    and in the worker's environment, and the line needed there is shown.

    Exit codes: 0 added; 1 the name or URL is taken; 2 the URL is not one to call; 3 no API.

    Example: flowstate instances add pool-1 --owner pool@example.com
    --url https://script.google.com/macros/s/AKfycb.../exec
    """
    host = _check(name, url, key_id)
    row: Row = {
        "name": name,
        "url": url,
        "owner": owner,
        "key_id": key_id,
        "max_in_flight": max_in_flight,
        "weight": weight,
    }
    with open_api() as api:
        known = set(api.settings.instance_keys())
        if allow:
            allow_host(api, host)
        save_owner(api, owner, account_type.value)
        try:
            [instance] = api.rows(api.table("apps_script_instances").insert(row))
        except CliError as error:
            if error.code == "PT400" and "allow-list" in error.message:
                error.hint = "If it is yours and you trust it, repeat this with --allow-host."
            if error.code != "23505":
                raise
            raise RefusedError(
                "An instance of this name or URL exists already.",
                field="name",
                hint="See: flowstate instances list",
            ) from error
    if as_json:
        emit_json(instance)
    else:
        emit_fields({"instance": instance["id"], "name": name, "owner": owner, "key": key_id})
    if key_id not in known:
        say(f"The worker needs the secret of key {escape(key_id)} in its environment:")
        say(f'  {INSTANCE_KEYS}=\'{{"{escape(key_id)}": "<the script\'s HMAC_{key_id}>"}}\'')
    if host != "script.google.com":
        say(f"and the host in {EXEC_HOSTS}: {escape(host)}")


@app.command("list")
def list_instances(as_json: JsonFlag = False) -> None:
    """List the pool: state, breaker, limits, and whether this environment holds the key.

    Reads apps_script_instances. Exit codes: 0 listed, even when there are none; 3 no API.

    Example: flowstate instances list --json
    """
    with open_api() as api:
        known = api.settings.instance_keys()
        rows = api.rows(api.table("apps_script_instances").select("*").order("name"))
    if as_json:
        emit_json(rows)
        return
    emit_table(
        ("instance", "owner", "state", "breaker", "at once", "key", "url"),
        [
            (
                row["name"],
                row["owner"],
                row["state"],
                row["breaker_state"],
                row["max_in_flight"],
                row["key_id"] + ("" if row["key_id"] in known else " (not here)"),
                row["url"],
            )
            for row in rows
        ],
    )


def _check(name: str, url: str, key_id: str) -> str:
    """The URL's host with its port, if it has one. Raises BadInputError.

    The database checks the same again, with the allow-list.
    """
    if not _NAME.fullmatch(name):
        raise BadInputError(
            f"{name[:70]!r} has to be 1 to 63 lower-case letters, digits, dots, _ or -.",
            field="name",
        )
    if not _KEY_ID.fullmatch(key_id):
        raise BadInputError("A key id has 1 to 40 letters, digits, _ or -.", field="--key-id")
    parts = urlsplit(url)
    if parts.scheme not in {"https", "http"} or not parts.hostname or "@" in parts.netloc:
        raise BadInputError(
            "This is not an https address without user information.",
            field="--url",
            hint=f"It looks like {_FORM}",
        )
    if not _PATH.fullmatch(parts.path) or parts.query or parts.fragment:
        raise BadInputError(
            f"The path {parts.path[:80]!r} is not that of a deployment.",
            field="--url",
            hint=f"Copy the web app URL of Deploy > Manage deployments: {_FORM}",
        )
    return parts.netloc.lower().removesuffix(":443")
