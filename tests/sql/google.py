"""Connections to Google as rows: sealed with a real key, claimed and finished by plain methods."""

from __future__ import annotations

import uuid
from typing import Any

from psycopg.types.json import Jsonb

from flowstate_worker.rules.sealing import KeyRing, Kind, new_key, read_keys
from tests.sql.driver import QueueDriver, Row

KEY_TEXTS = {"k1": new_key(), "k2": new_key()}
KEYS = read_keys(KEY_TEXTS)
RING = KeyRing(KEYS, "k1")
REFRESH, ACCESS = "1//0CANARY-refresh", "ya29.a0CANARY-access"


class Connections:
    """The token functions, on the connection of a driver."""

    def __init__(self, queue: QueueDriver) -> None:
        self.queue = queue

    def user(self) -> str:
        user_id = str(uuid.uuid4())
        self.queue.do(
            "insert into auth.users (id, email) values (%s, %s)", user_id, f"{user_id}@x.test"
        )
        return user_id

    def connect(
        self,
        user_id: str | None = None,
        *,
        ring: KeyRing = RING,
        refresh: str = REFRESH,
        access: str = ACCESS,
        expires_in: int | None = 3599,
    ) -> str:
        """Stores tokens of a user, a new one unless named; the user's id."""
        user_id = user_id or self.user()
        owner = uuid.UUID(user_id)
        sealed = None if expires_in is None else ring.seal(access, owner, Kind.ACCESS)
        self.queue.value(
            "select public.store_google_tokens(%s, %s, %s, %s, %s, %s)",
            user_id,
            ring.key_id,
            ring.seal(refresh, owner, Kind.REFRESH),
            sealed,
            expires_in,
            ["openid"],
        )
        return user_id

    def row(self, user_id: str) -> Row:
        [row] = self.queue.rows("select * from private.google_tokens where user_id = %s", user_id)
        return row

    def set(self, user_id: str, assignments: str) -> None:
        self.queue.do(f"update private.google_tokens set {assignments} where user_id = %s", user_id)

    def expire(self, *user_ids: str) -> None:
        for user_id in user_ids:
            self.set(
                user_id,
                "access_expires_at = clock_timestamp(), next_refresh_at = clock_timestamp()",
            )

    def get(self, *user_ids: str) -> list[Row]:
        return self.queue.rows("select * from public.get_google_tokens(%s::uuid[])", list(user_ids))

    def claim(self, most: int = 100, lead: int = 600, *user_ids: str) -> list[Row]:
        return self.queue.rows(
            "select * from public.claim_google_token_refreshes('r', %s, %s, 120, %s::uuid[])",
            most,
            lead,
            list(user_ids) or None,
        )

    def finish(self, *results: Row) -> list[Row]:
        return self.queue.rows(
            "select * from public.finish_google_token_refreshes(%s)", Jsonb(list(results))
        )


def refreshed(claimed: Row, *, ring: KeyRing = RING, **fields: Any) -> Row:
    owner = claimed["user_id"]
    return {
        **lease(claimed),
        "outcome": "refreshed",
        "key_id": ring.key_id,
        "sealed_refresh_token": ring.seal(REFRESH, owner, Kind.REFRESH),
        "sealed_access_token": ring.seal(f"{ACCESS}-2", owner, Kind.ACCESS),
        "expires_in_seconds": 3599,
        **fields,
    }


def lease(claimed: Row) -> Row:
    return {"user_id": str(claimed["user_id"]), "lease_token": str(claimed["lease_token"])}


def ids(rows: list[Row]) -> set[str]:
    return {str(row["user_id"]) for row in rows}
