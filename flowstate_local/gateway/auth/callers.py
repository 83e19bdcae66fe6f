"""Who is calling Auth: a signed-in user with a living session, or the project's administrator."""

import uuid
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from ..database import Cursor
from ..keys import BEARER
from ..tokens import TokenError, verify
from . import sessions, users
from .errors import AuthError, bad_jwt
from .issuer import Issuer

ISSUER = web.AppKey("issuer", Issuer)

ADMIN_ROLES = frozenset({"service_role", "supabase_admin"})


def claims_of(request: web.Request) -> Mapping[str, Any]:
    """The verified claims of the caller's JWT; 403 `bad_jwt` when they cannot be trusted."""
    try:
        return verify(request[BEARER], request.app[ISSUER].jwt_secret)
    except TokenError as error:
        raise bad_jwt(str(error)) from error


def require_admin(request: web.Request) -> None:
    """403 `not_admin` for everyone but the service role."""
    if claims_of(request)["role"] not in ADMIN_ROLES:
        raise AuthError(403, "not_admin", "User not allowed")


async def signed_in_user(request: web.Request, cursor: Cursor) -> tuple[users.Row, str]:
    """The calling user's row and the id of the session that the token belongs to.

    Raises:
        AuthError: 403 for a key instead of a user's token, an ended session, a user who is gone or
            banned. The token itself may still be valid: Auth looks at the rows, not only at `exp`.
    """
    claims = claims_of(request)
    user_id, session_id = str(claims.get("sub", "")), str(claims.get("session_id", ""))
    if not user_id:
        raise AuthError(403, "bad_jwt", "invalid claim: missing sub claim")
    try:
        uuid.UUID(user_id)
    except ValueError as error:
        raise AuthError(403, "bad_jwt", "invalid claim: sub claim must be a UUID") from error
    user = await users.by_id(cursor, user_id)
    if user is None or user["deleted_at"] is not None:
        raise AuthError(403, "user_not_found", "User from sub claim in JWT does not exist")
    if not await sessions.exists(cursor, session_id, user_id):
        message = "Session from session_id claim in JWT does not exist"
        raise AuthError(403, "session_not_found", message)
    if user["is_banned"]:
        raise AuthError(403, "user_banned", "User is banned")
    return user, session_id
