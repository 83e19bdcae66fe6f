"""What the gateway needs to know, read once from the JSON file named on its command line."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from flowstate_local.auth_hooks import HOOK_URI

HOST = "127.0.0.1"
"""The only address the gateway listens on: it holds keys to everything behind it."""


class GatewayConfig(BaseModel):
    """Addresses and keys of one local stack.

    Nothing secret appears in its `repr`, so that a logged or raised config gives no key away.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    port: int = Field(ge=1, le=65535)
    db_url: str = Field(repr=False, description="a superuser's connection, for Realtime")
    auth_db_url: str = Field(repr=False, description="as supabase_auth_admin, as whom Auth works")
    postgrest_url: str
    functions_url: str
    functions_dir: Path | None = Field(
        default=None,
        description="supabase/functions; without it every function verifies its caller's token",
    )
    access_token_hook: str | None = Field(
        default=None,
        pattern=HOOK_URI,
        description="the function that Auth calls before it issues an access token",
    )
    jwt_secret: str = Field(repr=False, min_length=32)
    publishable_key: str = Field(repr=False, pattern="^sb_publishable_")
    secret_key: str = Field(repr=False, pattern="^sb_secret_")
    anon_key: str = Field(repr=False)
    service_role_key: str = Field(repr=False)

    @property
    def issuer(self) -> str:
        """The `iss` of access tokens: the address of Auth, as hosted projects write it."""
        return f"http://{HOST}:{self.port}/auth/v1"

    @classmethod
    def load(cls, path: Path) -> "GatewayConfig":
        """Read and check the file; a pydantic ValidationError names the field, never its value."""
        return cls.model_validate_json(path.read_bytes())
