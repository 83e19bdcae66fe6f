"""What a stack remembers between commands (stack.json), and what it tells its users (StackInfo)."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from flowstate_local.errors import LocalStackError
from flowstate_local.keys import Keys, make_keys
from flowstate_local.processes import ProcessId

HOST: Final = "127.0.0.1"
FILE_NAME: Final = "stack.json"
PORT_NAMES: Final = (
    "api_port",
    "db_port",
    "postgrest_port",
    "postgrest_admin_port",
    "functions_port",
    "simulator_port",
    "echo_port",
)
_VERSION = 2


@dataclass(frozen=True, kw_only=True)
class StackInfo:
    """Addresses and keys of a started stack. Holds secrets: do not log it."""

    api_url: str
    db_url: str
    """As `postgres`, who is no superuser: what migrations and tests use."""
    admin_db_url: str
    """As the superuser `supabase_admin`."""
    publishable_key: str
    secret_key: str
    anon_key: str
    service_role_key: str
    jwt_secret: str
    postgrest_url: str
    functions_url: str
    simulator_url: str
    echo_url: str
    instance_keys: dict[str, str]
    ports: dict[str, int]
    pids: dict[str, int]
    """Of the components that run now."""

    def environment(self) -> dict[str, str]:
        """The FLOWSTATE_ settings by which the worker and the command line reach this stack."""
        return {
            "FLOWSTATE_SUPABASE_URL": self.api_url,
            "FLOWSTATE_SERVICE_KEY": self.secret_key,
            "FLOWSTATE_PUBLISHABLE_KEY": self.publishable_key,
            "FLOWSTATE_DATABASE_URL": self.db_url,
            "FLOWSTATE_INSTANCE_KEYS": json.dumps(self.instance_keys),
            "FLOWSTATE_EXEC_HOSTS": self.simulator_url.removeprefix("http://"),
            "FLOWSTATE_ECHO_HOSTS": self.echo_url.removeprefix("http://"),
        }


@dataclass(kw_only=True)
class State:
    """The content of stack.json."""

    keys: Keys
    components: list[str]
    durable: bool
    throw_away: bool
    has_cluster: bool = False
    """Whether the data in the cluster's home was made with these keys."""
    ports: dict[str, int] = field(default_factory=dict)
    processes: dict[str, ProcessId] = field(default_factory=dict)
    configurations: dict[str, str] = field(default_factory=dict)
    """Digest of what each running component was configured with."""

    @classmethod
    def fresh(cls, *, components: tuple[str, ...], durable: bool, throw_away: bool) -> State:
        """A new stack's, with new keys."""
        return cls(
            keys=make_keys(), components=list(components), durable=durable, throw_away=throw_away
        )

    @classmethod
    def load(cls, directory: Path) -> State | None:
        """The state saved in `directory`; None when there is none.

        Raises:
            LocalStackError: the file is not one that this version wrote.
        """
        path = directory / FILE_NAME
        try:
            saved: dict[str, Any] = json.loads(path.read_text())
            if saved.pop("version") != _VERSION:
                raise ValueError
            saved["keys"] = Keys(**saved["keys"])
            saved["processes"] = {
                name: ProcessId(**process) for name, process in saved["processes"].items()
            }
            return cls(**saved)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise LocalStackError(
                f"{path} was not written by this version of FlowState; stop what it started "
                "with the version that wrote it, then remove the folder"
            ) from error

    def save(self, directory: Path) -> None:
        """Write stack.json (0600) so that a reader sees the old or the new one, never a part."""
        partial = directory / (FILE_NAME + ".partial")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump({"version": _VERSION, **asdict(self)}, file, indent=2)
        partial.replace(directory / FILE_NAME)

    def database_url(self, role: str, password: str) -> str:
        return f"postgresql://{role}:{password}@{HOST}:{self.ports['db_port']}/postgres"

    def url(self, port_name: str) -> str:
        return f"http://{HOST}:{self.ports[port_name]}"

    def info(self, pids: dict[str, int]) -> StackInfo:
        keys = self.keys
        return StackInfo(
            api_url=self.url("api_port"),
            db_url=self.database_url("postgres", keys.postgres_password),
            admin_db_url=self.database_url("supabase_admin", keys.admin_password),
            publishable_key=keys.publishable_key,
            secret_key=keys.secret_key,
            anon_key=keys.anon_key,
            service_role_key=keys.service_role_key,
            jwt_secret=keys.jwt_secret,
            postgrest_url=self.url("postgrest_port"),
            functions_url=self.url("functions_port"),
            simulator_url=self.url("simulator_port"),
            echo_url=self.url("echo_port"),
            instance_keys=dict(keys.instance_keys),
            ports=dict(self.ports),
            pids=pids,
        )
