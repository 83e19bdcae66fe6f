"""Access tokens: HS256 JWTs signed with the stack's own secret, as PostgREST checks them too."""

import time
from collections.abc import Mapping
from typing import Any

import jwt

ALGORITHM = "HS256"
AUDIENCE = "authenticated"

Claims = Mapping[str, Any]


class TokenError(Exception):
    """A token that must not be trusted; the message says why and holds nothing of the token."""


class TokenExpiredError(TokenError):
    """A well-signed token whose `exp` has passed."""


def sign(claims: Claims, secret: str) -> str:
    """The compact JWT of these claims."""
    return jwt.encode(dict(claims), secret, algorithm=ALGORITHM)


def verify(token: str, secret: str) -> Claims:
    """The claims of a token that this stack has signed and that is still valid.

    Raises:
        TokenExpiredError: the signature is right and `exp` has passed.
        TokenError: malformed, signed with another key or algorithm, for another audience, or
            without `role` or `exp`.
    """
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            secret,
            algorithms=[ALGORITHM],
            options={"require": ["exp", "role"], "verify_aud": False},
        )
    except jwt.ExpiredSignatureError as error:
        raise TokenExpiredError("token is expired") from error
    except jwt.MissingRequiredClaimError as error:
        raise TokenError("Fields `role` and `exp` are required in JWT") from error
    except jwt.InvalidSignatureError as error:
        raise TokenError("signature is invalid") from error
    except jwt.InvalidTokenError as error:
        raise TokenError("token is malformed") from error
    # As PostgREST takes it: keys name no audience, and pass.
    audience = claims.get("aud")
    if audience is not None and AUDIENCE not in (
        audience if isinstance(audience, list) else [audience]
    ):
        raise TokenError("token is for another audience")
    return claims


def seconds_left(claims: Claims) -> float:
    """Seconds until `exp`; negative once it has passed."""
    return float(claims["exp"]) - time.time()
