"""What crosses the border between the worker and the queue's SQL functions."""

from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

MAX_RESULT_BYTES = 92 * 1024
"""An execution's result as JSON text: 90 KB of step results (Code.gs' own limit) and their names.
"""


class Ran(StrEnum):
    """Did the script run? Decides whether another instance may be asked."""

    NONE = "none"
    UNKNOWN = "unknown"
    PARTIAL = "partial"
    ALL = "all"


class RetryOn(StrEnum):
    """Where the next attempt may run."""

    SAME = "same"
    ANOTHER = "another"
    ANOTHER_OWNER = "another_owner"
    ANY = "any"


class Breaker(StrEnum):
    """What an answer says about the instance's health."""

    SUCCESS = "success"
    FAILURE = "failure"
    TRIP = "trip"
    IGNORE = "ignore"


class Outcome(StrEnum):
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    RELEASED = "released"
    SNOOZED = "snoozed"


class LeaseKey(NamedTuple):
    """One attempt of one execution."""

    execution_id: UUID
    attempt: int


class ClaimedExecution(BaseModel):
    """A row of `claim_flow_executions`: one attempt, its lease, and the instance that it holds a
    slot of.
    """

    model_config = ConfigDict(frozen=True)

    execution_id: UUID
    attempt: int = Field(ge=1)
    max_attempts: int = Field(ge=1)
    lease_token: UUID
    lease_expires_at: datetime
    user_id: UUID
    tier: str
    flow_id: UUID
    flow_name: str
    flow_kind: str
    steps: list[Any]
    input: Any
    deadline_seconds: int | None = Field(default=None, ge=1)
    queued_at: datetime
    instance_id: UUID
    instance_name: str
    instance_url: str
    instance_key_id: str
    instance_owner: str
    resume: bool = False

    @property
    def key(self) -> LeaseKey:
        return LeaseKey(self.execution_id, self.attempt)


class LeaseProof(BaseModel):
    """The three values that fence every verb which ends, extends or releases an attempt."""

    model_config = ConfigDict(frozen=True)

    execution_id: UUID
    attempt: int
    lease_token: UUID

    @property
    def key(self) -> LeaseKey:
        return LeaseKey(self.execution_id, self.attempt)

    def wire(self) -> dict[str, Any]:
        return {
            "execution_id": str(self.execution_id),
            "attempt": self.attempt,
            "lease_token": str(self.lease_token),
        }


class FinishItem(BaseModel):
    """One outcome for `finish_flow_executions`. Build it with `rules.outcomes`."""

    model_config = ConfigDict(frozen=True)

    proof: LeaseProof
    outcome: Outcome
    result: Any = None
    error: dict[str, Any] | None = None
    retry: bool = False
    retry_on: RetryOn = RetryOn.ANY
    retry_after_seconds: float | None = None
    spend_attempt: bool = True
    user_error: bool = False
    usage: dict[str, int] | None = None
    duration_ms: int | None = None
    breaker: Breaker = Breaker.IGNORE

    @property
    def key(self) -> LeaseKey:
        return self.proof.key

    @property
    def category(self) -> str:
        """The category for metrics and logs; a success is `ok`."""
        return "ok" if self.error is None else str(self.error["category"])

    def wire(self) -> dict[str, Any]:
        """The item as the RPC reads it; what does not apply to the outcome is left out."""
        wire = self.proof.wire()
        wire["outcome"] = self.outcome.value
        wire["breaker"] = self.breaker.value
        if self.duration_ms is not None:
            wire["duration_ms"] = self.duration_ms
        if self.usage is not None:
            wire["usage"] = self.usage
        if self.outcome is Outcome.SUCCEEDED:
            wire["result"] = self.result
        if self.outcome is Outcome.FAILED:
            wire["error"] = self.error
            wire["retry"] = self.retry
            wire["retry_on"] = self.retry_on.value
            wire["spend_attempt"] = self.spend_attempt
            wire["user_error"] = self.user_error
            if self.retry_after_seconds is not None:
                wire["retry_after_seconds"] = self.retry_after_seconds
        return wire


class FinishAnswer(BaseModel):
    """What the queue says to one finished or released attempt."""

    model_config = ConfigDict(frozen=True)

    execution_id: UUID
    attempt: int
    answer: str
    state: str | None = None

    @property
    def key(self) -> LeaseKey:
        return LeaseKey(self.execution_id, self.attempt)


class HeartbeatAnswer(BaseModel):
    """What the queue says to one heartbeat."""

    model_config = ConfigDict(frozen=True)

    execution_id: UUID
    attempt: int
    answer: str
    cancel_requested: bool | None = False

    @property
    def key(self) -> LeaseKey:
        return LeaseKey(self.execution_id, self.attempt)
