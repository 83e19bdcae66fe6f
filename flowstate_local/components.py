"""How each component but Postgres is started: command, configuration, readiness."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from flowstate_local import auth_hooks, functions_host, project
from flowstate_local.state import HOST, State

# In starting order. The gateway comes last: it answers for the others.
COMPONENTS: Final = ("postgres", "postgrest", "functions", "simulator", "gateway")

# Which ports belong to which component.
PORTS: Final[dict[str, tuple[str, ...]]] = {
    "postgres": ("db_port",),
    "postgrest": ("postgrest_port", "postgrest_admin_port"),
    "functions": ("functions_port",),
    "simulator": ("simulator_port", "echo_port"),
    "gateway": ("api_port",),
}

_FUNCTIONS: Final = project.ROOT / "supabase" / "functions"
_CONFIG_TOML: Final = project.ROOT / "supabase" / "config.toml"
_CODE: Final = project.ROOT / "apps_script" / "Code.gs"

_OWNERS: Final = (
    {"owner": "owner-a@example.com", "account_type": "consumer", "locale": "en"},
    {"owner": "owner-b@example.com", "account_type": "consumer", "locale": "de"},
    {"owner": "owner-c@example.com", "account_type": "workspace", "locale": "en"},
)
_INSTANCES: Final = 5


@dataclass(frozen=True, kw_only=True)
class Launch:
    """A component ready to be started."""

    command: list[str]
    ready_url: str
    environment: dict[str, str]
    """Settings beside the file; `inherited_environment` is added at start."""
    configuration: dict[str, Any] = field(default_factory=dict)
    """Written as JSON to the path that the command names."""


def configuration_path(directory: Path, name: str) -> Path:
    return directory / f"{name}.json"


def launch(name: str, state: State, directory: Path) -> Launch:
    """How to start `name` (any component but postgres) with the stack's ports and keys."""
    makers: dict[str, Callable[[State, Path], Launch]] = {
        "postgrest": _postgrest,
        "functions": _functions,
        "simulator": _simulator,
        "gateway": _gateway,
    }
    return makers[name](state, configuration_path(directory, name))


def inherited_environment() -> dict[str, str]:
    """The caller's variables that a component may see: no settings of another project."""
    names = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE", "DENO_DIR")
    kept = {name: os.environ[name] for name in names if name in os.environ}
    kept.setdefault("DENO_DIR", str(project.ROOT / ".cache" / "deno"))
    return {**kept, "DENO_NO_UPDATE_CHECK": "1", "NO_COLOR": "1"}


def _postgrest(state: State, _: Path) -> Launch:
    """As hosted projects run it: 1,000 rows at most, the API's own timeouts by role."""
    return Launch(
        command=[str(project.postgrest())],
        ready_url=state.url("postgrest_admin_port") + "/ready",
        environment={
            "PGRST_DB_URI": state.database_url("authenticator", state.keys.authenticator_password),
            "PGRST_DB_SCHEMAS": "public,graphql_public",
            "PGRST_DB_EXTRA_SEARCH_PATH": "public,extensions",
            "PGRST_DB_ANON_ROLE": "anon",
            "PGRST_DB_POOL": "20",
            "PGRST_DB_MAX_ROWS": "1000",
            "PGRST_DB_CHANNEL_ENABLED": "true",
            "PGRST_JWT_SECRET": state.keys.jwt_secret,
            # A token for somebody else is refused; keys name no audience and pass.
            "PGRST_JWT_AUD": "authenticated",
            "PGRST_SERVER_HOST": HOST,
            "PGRST_SERVER_PORT": str(state.ports["postgrest_port"]),
            "PGRST_ADMIN_SERVER_PORT": str(state.ports["postgrest_admin_port"]),
            "PGRST_OPENAPI_SERVER_PROXY_URI": state.url("api_port") + "/rest/v1",
            "PGRST_LOG_LEVEL": "error",
        },
    )


def _functions(state: State, configuration: Path) -> Launch:
    """Edge Functions see what hosted ones see, and the settings of the calls to Apps Script."""
    keys = state.keys
    info = state.info({})
    functions_dir = project.ROOT / "supabase" / "functions"
    return Launch(
        command=functions_host.command(
            deno=project.deno(), config=configuration, functions_dir=functions_dir
        ),
        ready_url=state.url("functions_port") + "/_internal/health",
        environment={},
        configuration={
            "port": state.ports["functions_port"],
            "functions_dir": str(functions_dir),
            "env": {
                "SUPABASE_URL": info.api_url,
                "SUPABASE_ANON_KEY": keys.anon_key,
                "SUPABASE_SERVICE_ROLE_KEY": keys.service_role_key,
                "SUPABASE_PUBLISHABLE_KEYS": json.dumps({"default": keys.publishable_key}),
                "SUPABASE_SECRET_KEYS": json.dumps({"default": keys.secret_key}),
                "SUPABASE_DB_URL": info.db_url,
                **{
                    name: value
                    for name, value in info.environment().items()
                    if name.endswith(("_INSTANCE_KEYS", "_HOSTS"))
                },
            },
        },
    )


def _simulator(state: State, configuration: Path) -> Launch:
    """Five instances of three owners, which run this checkout's Code.gs."""
    numbers = range(1, _INSTANCES + 1)
    return Launch(
        command=_simulator_command(configuration),
        ready_url=state.url("simulator_port") + "/_sim/health",
        environment={},
        configuration={
            "exec_port": state.ports["simulator_port"],
            "echo_port": state.ports["echo_port"],
            "code_path": str(_CODE),
            "seed": 1,
            "time_scale": 0,
            "owners": list(_OWNERS),
            "instances": [
                {
                    "deployment_id": f"AKfycb-local-{number}",
                    "name": f"local-{number}",
                    "owner": _OWNERS[(number - 1) % len(_OWNERS)]["owner"],
                    "keys": state.keys.instance_keys,
                }
                for number in numbers
            ],
        },
    )


def _gateway(state: State, configuration: Path) -> Launch:
    keys = state.keys
    return Launch(
        command=[sys.executable, "-m", "flowstate_local.gateway", "--config", str(configuration)],
        ready_url=state.url("api_port") + "/health",
        environment={"PYTHONPATH": str(project.ROOT)},
        configuration={
            "port": state.ports["api_port"],
            "db_url": state.info({}).admin_db_url,
            "auth_db_url": state.database_url("supabase_auth_admin", keys.auth_admin_password),
            "access_token_hook": auth_hooks.access_token_hook(_CONFIG_TOML),
            "postgrest_url": state.url("postgrest_port"),
            "functions_url": state.url("functions_port"),
            "functions_dir": str(_FUNCTIONS),
            "jwt_secret": keys.jwt_secret,
            "publishable_key": keys.publishable_key,
            "secret_key": keys.secret_key,
            "anon_key": keys.anon_key,
            "service_role_key": keys.service_role_key,
        },
    )


def _simulator_command(configuration: Path) -> list[str]:
    """Loopback only, and only the files it reads: its own, the sample mail, the script."""
    folder = Path(__file__).parent / "simulator"
    readable = ",".join(str(path) for path in (folder, _CODE, configuration))
    return [
        str(project.deno()),
        "run",
        "--quiet",
        "--no-prompt",
        "--no-check",
        "--cached-only",
        "--frozen",
        f"--config={folder / 'deno.json'}",
        "--allow-net=127.0.0.1",
        f"--allow-read={readable}",
        str(folder / "main.ts"),
        "--config",
        str(configuration),
    ]
