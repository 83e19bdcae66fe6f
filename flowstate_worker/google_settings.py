"""Settings of everything that has to do with users' Google tokens: keys, client, pace.

All of it is optional. Without FLOWSTATE_GOOGLE_CLIENT_ID and FLOWSTATE_GOOGLE_CLIENT_SECRET the
worker refreshes no token and asks the API nothing about them.
"""

from collections.abc import Mapping
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from flowstate_worker.errors import SettingsInvalid
from flowstate_worker.rules.addresses import is_loopback, parse_hosts
from flowstate_worker.rules.sealing import KeyRing, is_key_id, load_keys, read_keys

Seconds = Annotated[float, Field(gt=0, le=3600)]
Hosts = Annotated[tuple[str, ...], NoDecode]


class GoogleSettings(BaseSettings):
    """One field, one variable: `token_keys` is FLOWSTATE_TOKEN_KEYS. Times are in seconds."""

    model_config = SettingsConfigDict(
        env_prefix="FLOWSTATE_", extra="ignore", frozen=True, hide_input_in_errors=True
    )

    # The keys that tokens are sealed with; Vault is asked where there are none
    token_keys: Annotated[dict[str, SecretStr], NoDecode] = Field(
        default_factory=dict, description='JSON: {"<key id>": "<base64 of 32 bytes>"}'
    )
    token_key_id: str | None = Field(default=None, description="the one that seals")

    # The OAuth client that users consent to, and where Google is
    google_client_id: str | None = Field(default=None, max_length=200)
    google_client_secret: SecretStr | None = None
    google_token_url: str = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
    google_hosts: Hosts = ("oauth2.googleapis.com",)
    google_timeout_seconds: Seconds = 10.0

    # Refreshing ahead
    token_refresh_seconds: Seconds = 15.0
    token_refresh_lead_seconds: int = Field(default=600, ge=0, le=3000)
    token_refresh_batch: int = Field(default=100, ge=1, le=1000)
    token_refresh_at_once: int = Field(default=20, ge=1, le=200)
    token_lease_seconds: int = Field(default=120, ge=1, le=3600)

    @field_validator("token_keys", mode="before")
    @classmethod
    def _token_keys(cls, value: object) -> object:
        found = load_keys(value) if isinstance(value, str) and value else value or {}
        if isinstance(found, dict):
            read_keys({name: _plain(key) for name, key in found.items()})
        return found

    @field_validator("token_key_id")
    @classmethod
    def _token_key_id(cls, value: str | None) -> str | None:
        if value and not is_key_id(value):
            raise ValueError("must be 1 to 40 letters, digits, _ or -")
        return value or None

    @field_validator("google_client_id", "google_client_secret", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return value or None

    @field_validator("google_client_id")
    @classmethod
    def _client_id(cls, value: str | None) -> str | None:
        if value is not None and value.startswith("GOCSPX-"):
            raise ValueError("is a client secret; the id ends with .apps.googleusercontent.com")
        return value

    @field_validator("google_hosts", mode="before")
    @classmethod
    def _google_hosts(cls, value: object) -> object:
        return parse_hosts(value) if isinstance(value, str) else value

    @field_validator("google_token_url")
    @classmethod
    def _token_url(cls, value: str) -> str:
        parts = urlsplit(value)
        if not parts.hostname or "@" in parts.netloc or parts.query or parts.fragment:
            raise ValueError("must look like https://oauth2.googleapis.com/token")
        if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname)):
            raise ValueError("must use https: refresh tokens are sent there")
        if not parts.path.endswith("/token"):
            raise ValueError("must end with /token: /revoke is beside it")
        return value

    @model_validator(mode="after")
    def _google_checks(self) -> Self:
        parts = urlsplit(self.google_token_url)
        rounds = -(-self.token_refresh_batch // self.token_refresh_at_once)
        checks = {
            "FLOWSTATE_GOOGLE_CLIENT_ID and FLOWSTATE_GOOGLE_CLIENT_SECRET must be set together": (
                (self.google_client_id is None) == (self.google_client_secret is None)
            ),
            "FLOWSTATE_TOKEN_KEY_ID must name the key of FLOWSTATE_TOKEN_KEYS that seals: there is "
            "more than one": len(self.token_keys) < 2 or self.token_key_id is not None,
            "FLOWSTATE_TOKEN_KEY_ID must name one of the keys in FLOWSTATE_TOKEN_KEYS": (
                not self.token_keys or self.token_key_id in {None, *self.token_keys}
            ),
            "FLOWSTATE_GOOGLE_TOKEN_URL must be on a host of FLOWSTATE_GOOGLE_HOSTS or on "
            "loopback": is_loopback(parts.hostname or "")
            or parts.netloc.lower() in self.google_hosts,
            # A token whose lease has ended is taken by another refresher.
            "FLOWSTATE_TOKEN_LEASE_SECONDS must be longer than a batch takes at worst: "
            "FLOWSTATE_TOKEN_REFRESH_BATCH / FLOWSTATE_TOKEN_REFRESH_AT_ONCE times "
            "FLOWSTATE_GOOGLE_TIMEOUT_SECONDS": (
                self.token_lease_seconds > rounds * self.google_timeout_seconds
            ),
        }
        for says, holds in checks.items():
            if not holds:
                raise ValueError(says)
        return self

    @property
    def refreshes_tokens(self) -> bool:
        """Whether this worker refreshes tokens: it knows the OAuth client."""
        return self.google_client_id is not None

    def key_ring(self) -> KeyRing | None:
        """The keys of the environment; None without any. Raises SettingsInvalid."""
        keys = read_keys({name: _plain(key) for name, key in self.token_keys.items()})
        return self._ring(keys) if keys else None

    def key_ring_of(self, vault: Mapping[str, object]) -> KeyRing:
        """The keys that Vault holds, where the environment has none.

        Raises SettingsInvalid, which names what cannot be used and never its value.
        """
        if not vault:
            raise SettingsInvalid(
                "FLOWSTATE_TOKEN_KEYS: is not set, and there is no Vault with a secret "
                "flowstate_token_key_<id>. Make a key: flowstate tokens new-key"
            )
        try:
            return self._ring(read_keys(vault))
        except ValueError as error:
            raise SettingsInvalid(f"Vault, flowstate_token_key_<id>: {error}") from None

    def _ring(self, keys: Mapping[str, bytes]) -> KeyRing:
        try:
            return KeyRing(keys, self.token_key_id)
        except ValueError as error:
            raise SettingsInvalid(f"FLOWSTATE_TOKEN_KEY_ID: {error}") from None

    def google_secrets(self) -> list[str]:
        """Every secret value among these, for the log's redaction."""
        secrets = [*self.token_keys.values(), self.google_client_secret]
        return [secret.get_secret_value() for secret in secrets if secret is not None]


def _plain(value: object) -> object:
    return value.get_secret_value() if isinstance(value, SecretStr) else value
