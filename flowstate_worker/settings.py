"""All settings of the worker: environment variables whose names begin with FLOWSTATE_.

They are checked as a whole at start; what cannot work is refused with the setting's name.
"""

import json
import os
import secrets
import socket
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import NoDecode

from flowstate_worker.errors import SettingsInvalid
from flowstate_worker.google_settings import GoogleSettings, Hosts, Seconds
from flowstate_worker.rules.addresses import is_loopback, parse_hosts


def _processor_id() -> str:
    return f"{socket.gethostname()[:100]}-{os.getpid()}-{secrets.token_hex(3)}"


class Settings(GoogleSettings):
    """One field, one variable: `lease_seconds` is FLOWSTATE_LEASE_SECONDS. Times are in seconds."""

    # The API and the instances
    supabase_url: str = Field(description="the project's URL")
    service_key: SecretStr = Field(description="sb_secret_… or a service_role token")
    instance_keys: Annotated[dict[str, SecretStr], NoDecode] = Field(
        description='JSON: {"<kid>": "<secret>"}'
    )
    exec_hosts: Hosts = ("script.google.com",)
    echo_hosts: Hosts = ("script.googleusercontent.com",)

    # How much at once
    processor_id: str = Field(default_factory=_processor_id, min_length=1, max_length=200)
    max_in_flight: int = Field(default=100, ge=1, le=5000)
    claim_batch: int = Field(default=100, ge=1, le=1000)
    finish_batch: int = Field(default=200, ge=1, le=1000)

    # Leases and drain
    lease_seconds: int = Field(default=60, ge=3, le=3600)
    heartbeat_seconds: Seconds | None = Field(default=None, description="a third of the lease")
    grace_seconds: float = Field(default=30.0, ge=0, le=3600)
    flush_seconds: Seconds = 10.0

    # Waiting and pace
    poll_min_seconds: Seconds = 0.05
    poll_max_seconds: Seconds = 2.0
    claim_interval_seconds: float = Field(default=0.05, ge=0, le=10)
    finish_tick_seconds: float = Field(default=0.05, ge=0, le=10)
    rescue_seconds: Seconds = 2.0
    maintain_seconds: Seconds = 300.0
    realtime: bool = True

    # Budgets of single calls
    api_timeout_seconds: Seconds = 15.0
    start_timeout_seconds: float = Field(default=60.0, ge=0, le=3600)
    connect_seconds: Seconds = 10.0
    first_hop_seconds: Seconds = 390.0
    echo_seconds: Seconds = 18.0
    script_seconds: float = Field(default=300.0, gt=0, le=300)

    # What an operator looks at
    status_host: str = "127.0.0.1"
    status_port: int = Field(default=0, ge=0, le=65535, description="0: any free port, logged")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "console"] = "auto"

    @field_validator("exec_hosts", "echo_hosts", mode="before")
    @classmethod
    def _hosts(cls, value: object) -> object:
        return parse_hosts(value) if isinstance(value, str) else value

    @field_validator("instance_keys", mode="before")
    @classmethod
    def _json(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except ValueError:
            raise ValueError('must be JSON: {"<kid>": "<secret>"}') from None

    @field_validator("supabase_url")
    @classmethod
    def _url(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
            raise ValueError("must look like https://<project>.supabase.co")
        if parts.scheme == "http" and not is_loopback(parts.hostname):
            raise ValueError("must use https: the service key is sent with every request")
        return value.rstrip("/")

    @field_validator("service_key")
    @classmethod
    def _key(cls, value: SecretStr) -> SecretStr:
        key = value.get_secret_value()
        if key.startswith("sb_publishable_"):
            raise ValueError("is a publishable key; the worker needs the secret one")
        if not (key.startswith("sb_secret_") or key.count(".") == 2):
            raise ValueError("must be sb_secret_… or a service_role token")
        return value

    @field_validator("instance_keys")
    @classmethod
    def _keys(cls, value: dict[str, SecretStr]) -> dict[str, SecretStr]:
        if not value:
            raise ValueError("must hold at least one key")
        short = [kid for kid, key in value.items() if len(key.get_secret_value()) < 16]
        if short:
            raise ValueError(f"the secret of {short[0]!r} is shorter than 16 characters")
        return value

    @model_validator(mode="after")
    def _cross_checks(self) -> Self:
        beat = self.heartbeat
        checks = {
            "FLOWSTATE_LEASE_SECONDS must be at least three times FLOWSTATE_HEARTBEAT_SECONDS": (
                self.lease_seconds >= 3 * beat
            ),
            # A heartbeat that is as slow as it may be must not lose the leases it extends.
            "FLOWSTATE_LEASE_SECONDS must be longer than FLOWSTATE_HEARTBEAT_SECONDS and "
            "FLOWSTATE_API_TIMEOUT_SECONDS together": (
                self.lease_seconds > beat + self.api_timeout_seconds
            ),
            "FLOWSTATE_POLL_MAX_SECONDS must not be below FLOWSTATE_POLL_MIN_SECONDS": (
                self.poll_max_seconds >= self.poll_min_seconds
            ),
            # The script answers after its last step.
            "FLOWSTATE_FIRST_HOP_SECONDS must be longer than FLOWSTATE_SCRIPT_SECONDS": (
                self.first_hop_seconds > self.script_seconds
            ),
        }
        for says, holds in checks.items():
            if not holds:
                raise ValueError(says)
        return self

    @property
    def heartbeat(self) -> float:
        """Seconds between heartbeats."""
        return self.heartbeat_seconds or self.lease_seconds / 3

    def secrets(self) -> list[str]:
        """Every secret value, for the log's redaction."""
        keys = [self.service_key, *self.instance_keys.values()]
        return [*(key.get_secret_value() for key in keys), *self.google_secrets()]


def load_settings(**overrides: Any) -> Settings:
    """The settings from the environment. Raises SettingsInvalid: a line for each, with its name."""
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise SettingsInvalid(explain(error)) from None


def explain(error: ValidationError) -> str:
    """A line for each setting that cannot be used, with its name and without its value."""
    lines = []
    for problem in error.errors(include_input=False, include_url=False):
        name = "_".join(str(part) for part in problem["loc"][:1])
        message = problem["msg"].removeprefix("Value error, ")
        lines.append(f"FLOWSTATE_{name.upper()}: {message}" if name else message)
    return "\n".join(lines)
