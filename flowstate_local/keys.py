"""Fresh keys and passwords for one stack: none is built in, none is shared by two stacks."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from dataclasses import dataclass

import jwt

_TEN_YEARS_SECONDS = 10 * 365 * 24 * 3600


@dataclass(frozen=True, kw_only=True)
class Keys:
    """Every secret of a stack. Kept in stack.json (0600) and nowhere else."""

    jwt_secret: str
    anon_key: str
    service_role_key: str
    publishable_key: str
    secret_key: str
    instance_keys: dict[str, str]
    admin_password: str
    postgres_password: str
    authenticator_password: str
    auth_admin_password: str

    def secrets(self) -> list[str]:
        """All values that must not be seen in an error or a log."""
        values = [value for value in vars(self).values() if isinstance(value, str)]
        return [*values, *self.instance_keys.values()]


def make_keys() -> Keys:
    """New random keys, in the shapes of a hosted project's."""
    jwt_secret = secrets.token_urlsafe(48)
    return Keys(
        jwt_secret=jwt_secret,
        anon_key=sign_role_token("anon", jwt_secret),
        service_role_key=sign_role_token("service_role", jwt_secret),
        publishable_key=_api_key("sb_publishable_"),
        secret_key=_api_key("sb_secret_"),
        instance_keys={"k1": secrets.token_urlsafe(32)},
        admin_password=secrets.token_hex(24),
        postgres_password=secrets.token_hex(24),
        authenticator_password=secrets.token_hex(24),
        auth_admin_password=secrets.token_hex(24),
    )


def sign_role_token(role: str, jwt_secret: str) -> str:
    """A legacy API key: a token for `role` (HS256), good for ten years."""
    now = int(time.time())
    claims = {"iss": "supabase-demo", "role": role, "iat": now, "exp": now + _TEN_YEARS_SECONDS}
    return jwt.encode(claims, jwt_secret, algorithm="HS256")


def _api_key(prefix: str) -> str:
    """`<prefix><22 random characters>_<8 of a checksum>`, as hosted keys look."""
    body = secrets.token_urlsafe(17)[:22]
    checksum = base64.urlsafe_b64encode(hashlib.sha256((prefix + body).encode()).digest())
    return f"{prefix}{body}_{checksum[:8].decode()}"
