"""Auth's refusals, in the words and codes of the hosted service, which clients and code rely on."""

from ..errors import GatewayError


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
