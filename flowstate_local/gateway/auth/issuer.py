"""The session object that a client gets, with an access token that the hook has agreed to."""

import time
from dataclasses import dataclass
from typing import Any, Literal

from ..database import Cursor
from ..tokens import sign
from . import users
from .hooks import AccessTokenHook

ACCESS_TOKEN_SECONDS = 3600

AuthenticationMethod = Literal["password", "token_refresh"]
"""How a token was come by, as hooks are told."""


@dataclass(frozen=True)
class Issuer:
    """Issues access tokens; every one of them passes the hook, where there is one."""

    issuer: str
    jwt_secret: str
    hook: AccessTokenHook | None

    async def session(
        self,
        cursor: Cursor,
        user: users.Row,
        session: users.Row,
        refresh_token: str,
        method: AuthenticationMethod,
    ) -> dict[str, Any]:
        """The session object for a user and a refresh token.

        Raises:
            AuthError: the hook refused, or failed.
        """
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
        if self.hook is not None:
            claims = await self.hook.claims(cursor, claims, method)
        return {
            "access_token": sign(claims, self.jwt_secret),
            "token_type": "bearer",
            "expires_in": ACCESS_TOKEN_SECONDS,
            "expires_at": expires_at,
            "refresh_token": refresh_token,
            "user": users.view(user),
        }
