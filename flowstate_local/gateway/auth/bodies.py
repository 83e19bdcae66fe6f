"""Request bodies of Auth, read into models; what is wrong is answered in Auth's own shape."""

import re
from datetime import timedelta
from typing import Annotated, Any, TypeVar

from aiohttp import web
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from .errors import AuthError, validation_failed

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s)")
_BAN = re.compile(rf"none|({_DURATION.pattern})+")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def _email(value: str) -> str:
    if not _EMAIL.fullmatch(value) or len(value) > 255:
        raise validation_failed("Unable to validate email address: invalid format")
    return value.lower()


def _ban_duration(value: str) -> str:
    if not _BAN.fullmatch(value):
        raise validation_failed(
            "invalid format for ban duration: use 'none' or e.g. '24h', '1h30m'"
        )
    return value


Email = Annotated[str, AfterValidator(_email)]
BanDuration = Annotated[str, AfterValidator(_ban_duration)]


class Body(BaseModel):
    """Unknown fields are ignored: clients send captcha and PKCE fields that mean nothing here."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)


class SignUp(Body):
    email: Email | None = None
    password: str | None = None
    data: dict[str, Any] | None = None


class PasswordGrant(Body):
    email: str = ""
    password: str = ""


class RefreshGrant(Body):
    refresh_token: str = ""


class UserUpdate(Body):
    email: Email | None = None
    password: str | None = None
    data: dict[str, Any] | None = None


class AdminUser(Body):
    """`POST` and `PUT` of admin/users; only fields that are given change anything."""

    id: str | None = None
    email: Email | None = None
    password: str | None = None
    password_hash: str | None = None
    email_confirm: bool = False
    user_metadata: dict[str, Any] | None = None
    app_metadata: dict[str, Any] | None = None
    role: str | None = None
    ban_duration: BanDuration | None = None

    def ban(self) -> timedelta | None:
        """How long to ban from now; zero lifts a ban, None leaves it as it is."""
        if self.ban_duration is None:
            return None
        parts = _DURATION.findall(self.ban_duration)
        return timedelta(seconds=sum(float(n) * _UNITS[unit] for n, unit in parts))


class AdminDelete(Body):
    should_soft_delete: bool = False


AnyBody = TypeVar("AnyBody", bound=Body)


async def read(request: web.Request, model: type[AnyBody]) -> AnyBody:
    """The body as a model; an empty body is an empty object.

    Raises:
        AuthError: `bad_json`, or `validation_failed` naming the field.
    """
    raw = await request.read()
    try:
        return model.model_validate_json(raw or b"{}")
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            raise AuthError(400, "bad_json", "Could not parse request body as JSON") from error
        field = ".".join(str(part) for part in first["loc"]) or "body"
        raise validation_failed(f"{field}: {first['msg']}") from error
