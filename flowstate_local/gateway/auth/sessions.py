"""Sessions and their rotating refresh tokens, with the hosted service's reuse rules.

A refresh token is good for one exchange. Presented again, it is answered
- with the session's current token, when it is that token's direct parent: the client never got the
  answer to its exchange;
- with a new token within REUSE_INTERVAL_SECONDS: two tabs refreshed at once;
- otherwise as theft: every token of the session is revoked, for thief and owner alike.
"""

import secrets
import uuid
from typing import Any, Literal

from ..database import Cursor
from . import users
from .devices import Device
from .errors import AuthError
from .issuer import Issuer

REUSE_INTERVAL_SECONDS = 10

LogoutScope = Literal["global", "local", "others"]


async def start(cursor: Cursor, user: users.Row, device: Device, issuer: Issuer) -> dict[str, Any]:
    """Sign a user in: a new session with its first refresh token.

    Raises:
        AuthError: the access token hook refused, or failed.
    """
    session_id = str(uuid.uuid4())
    await cursor.execute(
        """insert into auth.sessions (id, user_id, aal, created_at, updated_at, user_agent, ip)
           values (%s, %s, 'aal1', clock_timestamp(), clock_timestamp(), %s, %s)
           returning id::text, aal::text, extract(epoch from created_at)::bigint as signed_in_at""",
        (session_id, user["id"], device.user_agent, device.address),
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
    return await issuer.session(cursor, signed_in, session, token, "password")


async def refresh(
    cursor: Cursor, token: str, device: Device, issuer: Issuer
) -> dict[str, Any] | AuthError:
    """Exchange a refresh token.

    Theft is returned, not raised: the revocation has to be committed together with the refusal.

    Raises:
        AuthError: unknown token, ended session, a banned or deleted user, or the hook refused.
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

    issued = None
    if not presented["revoked"]:
        await _revoke(cursor, "token = %s", token)
    else:
        active = await _active_token(cursor, session["id"])
        if active is not None and active["parent"] == token:
            issued = active["token"]
        # Without an active token theft was seen before: a session never comes back from that.
        elif active is None or presented["age_seconds"] > REUSE_INTERVAL_SECONDS:
            await _revoke(cursor, "session_id = %s", session["id"])
            message = "Invalid Refresh Token: Already Used"
            return AuthError(400, "refresh_token_already_used", message)
    if issued is None:
        issued = await _new_token(cursor, user["id"], session["id"], parent=token)
    answer = await issuer.session(cursor, user, session, issued, "token_refresh")
    # After the hook, as hosted: it sees when and from where the session was refreshed before.
    await cursor.execute(
        """update auth.sessions set refreshed_at = clock_timestamp() at time zone 'UTC',
               updated_at = clock_timestamp(), user_agent = %s, ip = %s where id = %s""",
        (device.user_agent, device.address, session["id"]),
    )
    return answer


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
