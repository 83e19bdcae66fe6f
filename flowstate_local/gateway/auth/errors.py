"""Auth's refusals, in the words and codes of the hosted service, which clients and code rely on."""

import re

import psycopg

from ..errors import GatewayError

_HTTP_SQLSTATE = re.compile(r"PT([45]\d\d)")


class AuthError(GatewayError):
    """`{"code": <status>, "error_code": …, "msg": …}`: what both client libraries parse."""

    def __init__(self, status: int, error_code: str, message: str) -> None:
        super().__init__(status, {"code": status, "error_code": error_code, "msg": message})


class WeakPasswordError(AuthError):
    """A password shorter than Auth's minimum; clients raise their own type for it."""

    def __init__(self, minimum: int) -> None:
        message = f"Password should be at least {minimum} characters."
        super().__init__(422, "weak_password", message)
        self.body = {**self.body, "weak_password": {"reasons": ["length"]}}


class DatabaseRefusal(AuthError):
    """A trigger's `raise sqlstate 'PTnnn'`, which means status nnn here as it does in PostgREST."""

    def __init__(self, status: int, diagnostic: psycopg.errors.Diagnostic) -> None:
        super().__init__(status, diagnostic.sqlstate or "", diagnostic.message_primary or "")
        more = {"hint": diagnostic.message_hint, "detail": diagnostic.message_detail}
        self.body = {**self.body, **{name: text for name, text in more.items() if text}}

    @classmethod
    def of(cls, error: psycopg.Error) -> "DatabaseRefusal | None":
        """The refusal that this error stands for; None when it was not meant for the client."""
        found = _HTTP_SQLSTATE.fullmatch(error.sqlstate or "")
        return cls(int(found[1]), error.diag) if found else None


def validation_failed(message: str) -> AuthError:
    return AuthError(400, "validation_failed", message)


def invalid_credentials() -> AuthError:
    """One answer for a wrong password and an unknown address, so that neither is revealed."""
    return AuthError(400, "invalid_credentials", "Invalid login credentials")


def bad_jwt(reason: str) -> AuthError:
    return AuthError(403, "bad_jwt", f"invalid JWT: unable to parse or verify signature, {reason}")


def email_taken() -> AuthError:
    message = "A user with this email address has already been registered"
    return AuthError(422, "email_exists", message)
