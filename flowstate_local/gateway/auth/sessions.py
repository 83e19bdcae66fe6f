"""Sessions and their rotating refresh tokens, with the hosted service's reuse rules.

A refresh token is good for one exchange. Presented again, it is answered
- with the session's current token, when it is that token's direct parent: the client never got the
  answer to its exchange;
- with a new token within REUSE_INTERVAL_SECONDS: two tabs refreshed at once;
- otherwise as theft: every token of the session is revoked, for thief and owner alike.
"""

import secrets
import time
import uuid
from dataclasses import dataclass
from typing import Any, Literal

from ..database import Cursor
from ..tokens import sign
from . import users
from .errors import AuthError

ACCESS_TOKEN_SECONDS = 3600
REUSE_INTERVAL_SECONDS = 10

LogoutScope = Literal["global", "local", "others"]


@dataclass(frozen=True)
class Issuer:
    """Makes the session object that a client gets for a user and a refresh token."""

    issuer: str
    jwt_secret: str

    def session(self, user: users.Row, session: users.Row, refresh_token: str) -> dict[str, Any]:
        issued_at = int(time.time())
        expires_at = issued_at + ACCESS_TOKEN_SECONDS
        claims = {
            "iss": self.issuer,
            "sub": user["id"],
            "aud": user["aud"],
            "exp": expires_at,
            "iat": issued_at,
            "email": user["email"] or "",
            "phone": "",
            "app_metadata": user["raw_app_meta_data"] or {},
            "user_metadata": user["raw_user_meta_data"] or {},
            "role": user["role"],
            "aal": session["aal"],
            "amr": [{"method": "password", "timestamp": session["signed_in_at"]}],
            "session_id": session["id"],
            "is_anonymous": user["is_anonymous"],
        }
        return {
            "access_token": sign(claims, self.jwt_secret),
            "token_type": "bearer",
            "expires_in": ACCESS_TOKEN_SECONDS,
            "expires_at": expires_at,
            "refresh_token": refresh_token,
            "user": users.view(user),
        }


async def start(cursor: Cursor, user: users.Row, issuer: Issuer) -> dict[str, Any]:
    """Sign a user in: a new session with its first refresh token."""
    session_id = str(uuid.uuid4())
    await cursor.execute(
        """insert into auth.sessions (id, user_id, aal, created_at, updated_at)
           values (%s, %s, 'aal1', clock_timestamp(), clock_timestamp())
           returning id::text, aal::text, extract(epoch from created_at)::bigint as signed_in_at""",
        (session_id, user["id"]),
    )
    session = await cursor.fetchone()
    assert session is not None
    await cursor.execute(
        f"""update auth.users set last_sign_in_at = clock_timestamp() where id = %s
            returning {users.COLUMNS}""",
        (user["id"],),
    )
    signed_in = await cursor.fetchone()
    assert signed_in is not None
    token = await _new_token(cursor, user["id"], session_id, parent=None)
    return issuer.session(signed_in, session, token)


async def refresh(cursor: Cursor, token: str, issuer: Issuer) -> dict[str, Any] | AuthError:
    """Exchange a refresh token.

    Theft is returned, not raised: the revocation has to be committed together with the refusal.

    Raises:
        AuthError: unknown token, ended session, or a banned or deleted user.
    """
    presented = await _find_token(cursor, token)
    if presented is None:
        message = "Invalid Refresh Token: Refresh Token Not Found"
        raise AuthError(400, "refresh_token_not_found", message)
    # One refresh of a session at a time; a second one waits here and then sees the first's work.
    await cursor.execute(
        """select id::text, aal::text, extract(epoch from created_at)::bigint as signed_in_at
           from auth.sessions where id = %s for update""",
        (presented["session_id"],),
    )
    session = await cursor.fetchone()
    presented = await _find_token(cursor, token)
    user = presented and await users.by_id(cursor, presented["user_id"])
    if presented is None or session is None or user is None or user["deleted_at"] is not None:
        message = "Invalid Refresh Token: No Valid Session Found"
        raise AuthError(400, "session_not_found", message)
    if user["is_banned"]:
        raise AuthError(400, "user_banned", "Invalid Refresh Token: User Banned")

    if not presented["revoked"]:
        await _revoke(cursor, "token = %s", token)
    else:
        active = await _active_token(cursor, session["id"])
        if active is not None and active["parent"] == token:
            return issuer.session(user, session, active["token"])
        # Without an active token theft was seen before: a session never comes back from that.
        if active is None or presented["age_seconds"] > REUSE_INTERVAL_SECONDS:
            await _revoke(cursor, "session_id = %s", session["id"])
            message = "Invalid Refresh Token: Already Used"
            return AuthError(400, "refresh_token_already_used", message)
    new = await _new_token(cursor, user["id"], session["id"], parent=token)
    return issuer.session(user, session, new)


async def exists(cursor: Cursor, session_id: str, user_id: str) -> bool:
    """Whether the session of an access token is still there."""
    await cursor.execute(
        "select 1 from auth.sessions where id::text = %s and user_id = %s", (session_id, user_id)
    )
    return await cursor.fetchone() is not None


async def end(cursor: Cursor, user_id: str, session_id: str | None, scope: LogoutScope) -> None:
    """End all sessions of a user, only this one, or all but this one; tokens go with them."""
    condition = {"global": "true", "local": "id::text = %(session)s"}.get(
        scope, "id::text is distinct from %(session)s"
    )
    await cursor.execute(
        f"delete from auth.sessions where user_id = %(user)s and {condition}",
        {"user": user_id, "session": session_id},
    )


async def _find_token(cursor: Cursor, token: str) -> users.Row | None:
    await cursor.execute(
        """select token, user_id::text, session_id::text, revoked,
               extract(epoch from clock_timestamp() - updated_at)::float as age_seconds
           from auth.refresh_tokens where token = %s""",
        (token,),
    )
    return await cursor.fetchone()


async def _active_token(cursor: Cursor, session_id: str) -> users.Row | None:
    await cursor.execute(
        """select token, parent from auth.refresh_tokens
           where session_id = %s and not revoked order by id desc limit 1""",
        (session_id,),
    )
    return await cursor.fetchone()


async def _revoke(cursor: Cursor, condition: str, value: str) -> None:
    await cursor.execute(
        f"""update auth.refresh_tokens set revoked = true, updated_at = clock_timestamp()
            where {condition} and not revoked""",
        (value,),
    )


async def _new_token(cursor: Cursor, user_id: str, session_id: str, parent: str | None) -> str:
    token = secrets.token_urlsafe(16)
    await cursor.execute(
        """insert into auth.refresh_tokens
               (token, user_id, session_id, parent, revoked, created_at, updated_at)
           values (%s, %s, %s, %s, false, clock_timestamp(), clock_timestamp())""",
        (token, user_id, session_id, parent),
    )
    return token
