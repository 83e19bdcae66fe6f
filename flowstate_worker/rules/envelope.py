"""The JSON that Code.gs answers with. Anything else is not an answer, whatever its status."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flowstate_worker.rules.models import Ran


class EnvelopeError(BaseModel):
    """Why the script did not do the flow, in its own words."""

    model_config = ConfigDict(frozen=True)

    kind: str
    code: str | None = None
    service: str | None = None
    message: str | None = None
    step: str | None = None
    ran: Ran | None = None
    retryable: bool | None = None


class Envelope(BaseModel):
    """Version 1 of the answer, success and failure in one."""

    model_config = ConfigDict(frozen=True)

    v: int
    ok: bool
    execution_id: str | None = Field(default=None, alias="executionId")
    status: str | None = None
    result: Any = None
    replayed: bool = False
    usage: dict[str, int] | None = None
    ms: float | None = None
    build: str | int | None = None
    error: EnvelopeError | None = None


def looks_like_json(body: bytes) -> bool:
    return body.lstrip()[:1] == b"{"


def parse_envelope(body: bytes) -> Envelope | None:
    """The envelope in `body`, or None if it holds none of this version."""
    if not looks_like_json(body):
        return None
    try:
        envelope = Envelope.model_validate_json(body)
    except ValidationError:
        return None
    if envelope.v != 1 or (envelope.error is None and not envelope.ok):
        return None
    return envelope
