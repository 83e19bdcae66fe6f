"""Which API and which database a command talks to: the environment, or else the local stack.

The two are never mixed: as soon as FLOWSTATE_SUPABASE_URL or FLOWSTATE_DATABASE_URL is set, nothing
is read from the local stack, so that a hosted address cannot meet a local key.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from flowstate_cli.errors import BadInputError, NotReachableError
from flowstate_cli.project import find_project
from flowstate_cli.stack import local_environment
from flowstate_worker.rules.addresses import is_loopback

URL, KEY, DATABASE = (
    "FLOWSTATE_SUPABASE_URL",
    "FLOWSTATE_SERVICE_KEY",
    "FLOWSTATE_DATABASE_URL",
)
INSTANCE_KEYS = "FLOWSTATE_INSTANCE_KEYS"
EXEC_HOSTS, ECHO_HOSTS = "FLOWSTATE_EXEC_HOSTS", "FLOWSTATE_ECHO_HOSTS"


@dataclass(frozen=True)
class Settings:
    """The FLOWSTATE_ values in force, and where they come from (for messages)."""

    values: dict[str, str]
    origin: str

    @property
    def is_local(self) -> bool:
        return self.origin == "the local stack"

    def api(self) -> tuple[str, str]:
        """URL and service key.

        Raises NotReachableError naming what is not set, BadInputError for what cannot be right.
        """
        url, key = self._needed(URL), self._needed(KEY)
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise BadInputError(
                f"{url!r} is not an http(s) address.",
                field=URL,
                hint="It looks like https://<project>.supabase.co, without a path.",
            )
        if parts.scheme == "http" and not is_loopback(parts.hostname):
            raise BadInputError(
                f"{parts.hostname} is another machine: the key must not travel without TLS.",
                field=URL,
                hint="Use https://. Plain http is for this machine only.",
            )
        if key.startswith("sb_publishable_"):
            raise BadInputError(
                "This is the publishable key, which may do what a signed-in user may.",
                field=KEY,
                hint="Use the secret key: sb_secret_…, or the service_role key.",
            )
        if not (key.startswith("sb_secret_") or key.count(".") == 2):
            raise BadInputError(
                "This is not the form of a Supabase key.",
                field=KEY,
                hint="It is sb_secret_… or the service_role key, a JWT that starts with eyJ.",
            )
        return url.rstrip("/"), key

    def database(self) -> str:
        """The database's address. Raises NotReachableError when none is set."""
        return self._needed(DATABASE)

    def instance_keys(self) -> dict[str, str]:
        """Key id to secret. Raises BadInputError without repeating the value."""
        raw = self.values.get(INSTANCE_KEYS, "") or "{}"
        try:
            keys = json.loads(raw)
        except json.JSONDecodeError as error:
            raise BadInputError(
                f"This is not JSON (character {error.pos}).",
                field=INSTANCE_KEYS,
                hint='It looks like {"k1": "<secret>"}.',
            ) from error
        if not isinstance(keys, dict) or not all(isinstance(v, str) for v in keys.values()):
            raise BadInputError(
                "This has to be a JSON object of key id to secret, both text.",
                field=INSTANCE_KEYS,
                hint='It looks like {"k1": "<secret>"}.',
            )
        return keys

    def _needed(self, name: str) -> str:
        value = self.values.get(name, "").strip()
        if not value:
            raise NotReachableError(
                f"{name} is not set (looked at {self.origin}).",
                field=name,
                hint="Start one with `flowstate up`, or set the FLOWSTATE_ variables of your "
                "project.",
            )
        return value


def load_settings() -> Settings:
    """What the environment says; where it names no API, what the running local stack says."""
    given = {name: value for name, value in os.environ.items() if name.startswith("FLOWSTATE_")}
    if given.get(URL) or given.get(DATABASE):
        return Settings(given, "the environment")
    stack = local_environment(_project_or_none())
    if not stack:
        return Settings(given, "the environment; this project has no local stack")
    return Settings({**stack, **given}, "the local stack")


def _project_or_none() -> Path | None:
    try:
        return find_project()
    except BadInputError:
        return None
