"""What an answer of Google's token endpoint means.

Sources: developers.google.com/identity/protocols/oauth2 (web-server, "Refresh token expiration"),
RFC 6749 section 5.2, and answers that users reported where these are silent. What is decided:

| answer | means |
|---|---|
| 200 with `access_token` and `expires_in` | refreshed |
| 400 `invalid_grant` | this token is over: withdrawn by the user, unused for six months, password
  changed, too many tokens, seven days of an app in testing. The words differ ("Token has been
  expired or revoked.", hours later only "Bad Request"), the code does not |
| the same with `error_subtype: invalid_rapt` | the organisation wants a new sign-in: over as well |
| 401 `invalid_client` | our client id or secret is wrong: says nothing about any token |
| 401 `unauthorized_client` | the token was given to another client of ours |
| 429, or a code that says so | too many calls |
| 5xx, `internal_failure`, a page in HTML | Google's trouble, for now |
"""

import json
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

_PASSING = frozenset({"internal_failure", "server_error", "temporarily_unavailable"})
_TOO_MANY = frozenset({"rate_limit_exceeded", "slow_down", "quota_exceeded"})
_MAX_TOKEN = 2048
"""Characters: Google's documented limit for access tokens; refresh tokens have 512."""


class TokenAnswer(BaseModel):
    """Google's JSON for an accepted grant. Unknown fields are left out."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    access_token: SecretStr = Field(min_length=1, max_length=_MAX_TOKEN)
    expires_in: int = Field(gt=0, le=86_400 * 366)
    scope: str = Field(default="", max_length=20_000)
    token_type: str = Field(default="Bearer", pattern=r"(?i)^bearer$")
    refresh_token: SecretStr | None = Field(default=None, min_length=1, max_length=_MAX_TOKEN)

    @property
    def scopes(self) -> list[str]:
        return self.scope.split()


@dataclass(frozen=True, slots=True)
class Refreshed:
    """A new access token; Google hardly ever sends a new refresh token with it."""

    answer: TokenAnswer


@dataclass(frozen=True, slots=True)
class Revoked:
    """This refresh token will never work again; the user has to connect anew."""

    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """No new token now. `reason` is from a closed list, and goes into rows and metrics."""

    reason: str
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class ClientRefused:
    """Google does not know our client, or its secret: nothing is said about the token."""


Refresh = Refreshed | Revoked | Failed | ClientRefused


def judge_refresh(status: int, body: bytes, retry_after_seconds: float | None = None) -> Refresh:
    """What the answer to a refresh means. Its text is looked at for codes and goes nowhere."""
    fields = _object(body)
    if status == 200:
        try:
            return Refreshed(TokenAnswer.model_validate(fields))
        except ValidationError:
            return Failed("unreadable_answer", retry_after_seconds)
    code = fields.get("error")
    if code == "invalid_grant":
        subtype = fields.get("error_subtype")
        return Revoked("reauthentication" if subtype == "invalid_rapt" else "invalid_grant")
    if code == "invalid_client":
        return ClientRefused()
    if code == "unauthorized_client":
        return Failed("other_client", retry_after_seconds)
    if status == 429 or code in _TOO_MANY:
        return Failed("rate_limited", retry_after_seconds)
    if status >= 500 or code in _PASSING:
        return Failed("google_unavailable", retry_after_seconds)
    return Failed("refused", retry_after_seconds)


def judge_revoke(status: int, body: bytes, _retry_after_seconds: float | None = None) -> str | None:
    """None when the grant is over, also when it was before; otherwise why it is not."""
    if status == 200 or _object(body).get("error") == "invalid_token":
        return None
    return "google_unavailable" if status >= 500 or status == 429 else "refused"


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
