"""API keys, checked as the hosted gateway checks them.

Every call names a project key in `apikey`: `sb_publishable_…`, `sb_secret_…`, or one of the legacy
JWT keys. `Authorization` says who the caller is; when it is absent or only repeats an `sb_` key,
the key's own role speaks, because the parts behind the gateway know JWTs and nothing else.
"""

import hmac
from typing import Literal

from aiohttp import web

from .config import GatewayConfig
from .errors import GatewayError, Handler

Role = Literal["anon", "service_role"]

KEYED_PREFIXES = ("/rest/v1", "/auth/v1", "/realtime/v1")

ROLE = web.RequestKey("role", str)
"""The role of the project key: `anon` or `service_role`."""

BEARER = web.RequestKey("bearer", str)
"""The JWT to speak with: the caller's own, or the key's."""


class Keyring:
    """The project's four keys, and the JWT that each of them stands for."""

    def __init__(self, config: GatewayConfig) -> None:
        self._jwts: dict[Role, str] = {
            "anon": config.anon_key,
            "service_role": config.service_role_key,
        }
        self._roles: dict[bytes, Role] = {
            config.publishable_key.encode(): "anon",
            config.anon_key.encode(): "anon",
            config.secret_key.encode(): "service_role",
            config.service_role_key.encode(): "service_role",
        }

    def role_of(self, key: str) -> Role | None:
        """The role behind a key, or None for a key that is not this project's."""
        given = key.encode()
        found: Role | None = None
        for known, role in self._roles.items():
            if hmac.compare_digest(known, given):
                found = role
        return found

    def jwt_of(self, role: Role) -> str:
        return self._jwts[role]

    def bearer(self, authorization: str | None, role: Role) -> str:
        """The JWT that a request speaks with.

        Raises:
            GatewayError: 401 for an `sb_` key in `Authorization` that is not this project's.
        """
        token = bearer_token(authorization)
        if token is None:
            return self._jwts[role]
        if not token.startswith("sb_"):
            return token
        named = self.role_of(token)
        if named is None:
            raise invalid_key()
        return self._jwts[named]


def bearer_token(authorization: str | None) -> str | None:
    """The token of an `Authorization: Bearer …` header; None without one."""
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def missing_key() -> GatewayError:
    hint = "No `apikey` request header or url param was found."
    return GatewayError(401, {"message": "No API key found in request", "hint": hint})


def invalid_key() -> GatewayError:
    hint = "Double check your Supabase API key: a restarted throw-away stack has fresh ones."
    return GatewayError(401, {"message": "Invalid API key", "hint": hint})


KEYRING = web.AppKey("keyring", Keyring)


@web.middleware
async def require_key(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse calls without a project key; leave the role and the JWT on the request."""
    if not request.path.startswith(KEYED_PREFIXES):
        return await handler(request)
    key = request.headers.get("apikey")
    if key is None and request.headers.get("Upgrade", "").lower() == "websocket":
        # Browsers cannot set headers on a WebSocket. Nowhere else: addresses end up in logs.
        key = request.query.get("apikey")
    if not key:
        raise missing_key()
    keyring = request.app[KEYRING]
    role = keyring.role_of(key)
    if role is None:
        raise invalid_key()
    request[ROLE] = role
    request[BEARER] = keyring.bearer(request.headers.get("Authorization"), role)
    return await handler(request)
