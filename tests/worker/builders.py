"""Makes what tests hand to the worker's parts."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from flowstate_worker.loops.leases import Attempt
from flowstate_worker.rules.models import ClaimedExecution, LeaseProof
from tests.worker.fake_instance import KID, NAME


def execution(**fields: Any) -> ClaimedExecution:
    values: dict[str, Any] = {
        "execution_id": uuid4(),
        "attempt": 1,
        "max_attempts": 5,
        "lease_token": uuid4(),
        "lease_expires_at": datetime.now(UTC),
        "user_id": uuid4(),
        "tier": "pro",
        "flow_id": uuid4(),
        "flow_name": "invoices",
        "flow_kind": "apps_script",
        "steps": [{"name": "a", "type": "transform", "args": {"template": "x"}}],
        "input": {"sheet": "s"},
        "deadline_seconds": 120,
        "queued_at": datetime.now(UTC),
        "instance_id": uuid4(),
        "instance_name": NAME,
        "instance_url": "https://script.google.com/macros/s/AKfycb-1/exec",
        "instance_key_id": KID,
        "instance_owner": "owner-a@example.com",
        "resume": False,
    }
    return ClaimedExecution(**{**values, **fields})


def proof(claimed: ClaimedExecution) -> LeaseProof:
    return LeaseProof(
        execution_id=claimed.execution_id,
        attempt=claimed.attempt,
        lease_token=claimed.lease_token,
    )


def attempt(claimed: ClaimedExecution | None = None, **fields: Any) -> Attempt:
    claimed = claimed or execution()
    return Attempt(claimed, proof(claimed), **{"leased_until": float("inf"), **fields})
