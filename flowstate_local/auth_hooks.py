"""Which function Auth calls before it issues an access token: `[auth.hook.*]` of config.toml.

The official CLI reads the same lines. Of its hooks the local stack knows this one, and it calls
Postgres functions only; whatever else is enabled is refused rather than left out in silence.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Final

from flowstate_local.errors import LocalStackError

HOOK_URI: Final = (
    r"^pg-functions://[^/]+/(?P<schema>[A-Za-z_][A-Za-z0-9_]{0,62})"
    r"/(?P<function>[A-Za-z_][A-Za-z0-9_]{0,62})$"
)

_ACCESS_TOKEN: Final = "custom_access_token"  # noqa: S105 - a hook's name


def access_token_hook(config_toml: Path) -> str | None:
    """The uri of the enabled hook; None when there is none.

    Raises:
        LocalStackError: another hook is enabled, this one is not a Postgres function, or the file
            cannot be read.
    """
    try:
        settings = tomllib.loads(config_toml.read_text("utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise LocalStackError(f"{config_toml} is not TOML: {error}") from error
    hooks = settings.get("auth", {}).get("hook", {})
    enabled = {name: hook for name, hook in hooks.items() if hook.get("enabled") is True}
    if others := sorted(enabled.keys() - {_ACCESS_TOKEN}):
        raise LocalStackError(
            f"{config_toml} enables auth.hook.{others[0]}, which the local stack never calls: it "
            f"knows auth.hook.{_ACCESS_TOKEN} only. Set enabled = false, or use `supabase start`"
        )
    if _ACCESS_TOKEN not in enabled:
        return None
    uri = enabled[_ACCESS_TOKEN].get("uri", "")
    if not isinstance(uri, str) or re.match(HOOK_URI, uri) is None:
        raise LocalStackError(
            f"{config_toml} has auth.hook.{_ACCESS_TOKEN}.uri = {uri!r}; the local stack calls "
            "Postgres functions: pg-functions://postgres/<schema>/<function>"
        )
    return uri
