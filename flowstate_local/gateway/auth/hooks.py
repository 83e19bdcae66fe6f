"""The custom access token hook: a Postgres function that has the last word on every access token.

As on the hosted service it runs as supabase_auth_admin, in the transaction of the sign-in or the
refresh, and may take two seconds. Whatever refuses the token undoes that transaction: no session is
left. What a hook that failed said stays in the log, since Auth does not show it to clients either.
"""

import logging
import re
from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from flowstate_local.auth_hooks import HOOK_URI

from ..database import Cursor
from .errors import AuthError

logger = logging.getLogger("flowstate.gateway.auth")

MAX_MILLISECONDS = 2000

REQUIRED: Mapping[str, type | tuple[type, ...]] = {
    "iss": str,
    "aud": (str, list),
    "exp": int,
    "iat": int,
    "sub": str,
    "role": str,
    "aal": str,
    "session_id": str,
    "email": str,
    "phone": str,
    "is_anonymous": bool,
}
OPTIONAL: Mapping[str, type | tuple[type, ...]] = {
    "jti": str,
    "nbf": int,
    "app_metadata": dict,
    "user_metadata": dict,
    "amr": list,
}


class AccessTokenHook:
    """The function that a uri names: `pg-functions://postgres/<schema>/<function>`."""

    def __init__(self, uri: str) -> None:
        found = re.match(HOOK_URI, uri)
        assert found is not None
        self._uri = uri
        self._call = sql.SQL("select {}(%s::jsonb) as answer").format(
            sql.Identifier(found["schema"], found["function"])
        )

    async def claims(
        self, cursor: Cursor, claims: Mapping[str, Any], authentication_method: str
    ) -> dict[str, Any]:
        """The claims that the token is to have instead of these.

        Raises:
            AuthError: the hook refuses, fails, takes too long or answers something else.
        """
        event = {
            "user_id": claims["sub"],
            "claims": dict(claims),
            "authentication_method": authentication_method,
        }
        answer = await self._ask(cursor, event)
        if isinstance(answer, dict) and isinstance(answer.get("error"), dict):
            self._refuse(answer["error"])
        if not isinstance(answer, dict) or "claims" not in answer:
            raise _unexpected("output claims field is missing")
        wrong = problems(answer["claims"])
        if wrong:
            listed = "".join(f"- {problem}\n" for problem in wrong)
            raise _unexpected(f"output claims do not conform to the expected schema: \n{listed}")
        return dict(answer["claims"])

    async def _ask(self, cursor: Cursor, event: dict[str, Any]) -> Any:
        try:
            await cursor.execute(f"set local statement_timeout = {MAX_MILLISECONDS}")
            await cursor.execute(self._call, (Jsonb(event),))
            row = await cursor.fetchone()
            await cursor.execute("set local statement_timeout to default")
        except psycopg.Error as error:
            if error.sqlstate is None or error.sqlstate.startswith(("08", "57P")):
                raise  # Postgres is gone: no fault of the hook
            logger.warning("%s failed: %s %s", self._uri, error.sqlstate, _place(error))
            raise self._failed() from error
        assert row is not None
        return row["answer"]

    def _refuse(self, said: Mapping[str, Any]) -> None:
        """Raise the hook's own refusal; as hosted, an error without a message is none."""
        status, message = said.get("http_code", 500), said.get("message", "")
        if not _is(message, str) or not _is(status, int) or not 400 <= status <= 599:
            raise self._failed()
        if message:
            code = "unexpected_failure" if status == 500 else "unknown"
            raise AuthError(status, code, message)

    def _failed(self) -> AuthError:
        return _unexpected(f"Error running hook URI: {self._uri}")


def problems(claims: Any) -> list[str]:
    """What keeps these from being an access token's claims, in the hosted service's words."""
    if not isinstance(claims, dict):
        return ["(root): Invalid type. Expected: object"]
    missing = [f"(root): {name} is required" for name in REQUIRED if name not in claims]
    return missing + [
        f"{name}: Invalid type"
        for name, kind in {**REQUIRED, **OPTIONAL}.items()
        if name in claims and not _is(claims[name], kind)
    ]


def _is(value: Any, kind: type | tuple[type, ...]) -> bool:
    # Python takes True for an int.
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _place(error: psycopg.Error) -> str:
    """Where a hook failed, not what it said: messages and the rest of a context quote data."""
    places = ("PL/pgSQL function", "SQL function")
    lines = (error.diag.context or "").splitlines()
    return "; ".join(line for line in lines if line.startswith(places))


def _unexpected(message: str) -> AuthError:
    return AuthError(500, "unexpected_failure", message)
