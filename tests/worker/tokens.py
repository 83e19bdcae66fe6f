"""People with a connection to the simulator's Google, and the parts that refresh it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from flowstate_local import LocalStack
from flowstate_worker.clients.google_oauth import GoogleOAuth
from flowstate_worker.clients.google_tokens import GoogleTokens
from flowstate_worker.clients.hops import instance_session
from flowstate_worker.clients.rpc import Rpc
from flowstate_worker.clients.supabase_client import supabase_client
from flowstate_worker.clients.token_client import TokenClient
from flowstate_worker.clients.token_refresh import TokenRefresh
from flowstate_worker.rules.sealing import KeyRing, Kind
from tests.google import Google
from tests.sql.driver import QueueDriver, Row
from tests.sql.google import KEY_TEXTS, RING, Connections


@dataclass(frozen=True)
class Person:
    """A user, and what Google gave for them."""

    id: str
    refresh_token: str
    access_token: str


class TokenWorld:
    """One OAuth client of the simulator, and a database without any connection."""

    def __init__(self, stack: LocalStack) -> None:
        self.stack = stack
        self.queue = QueueDriver(stack.info.db_url)
        self.queue.do("truncate private.google_tokens")
        self.queue.do("delete from public.flow_schedules")
        self.connections = Connections(self.queue)
        self.google = Google(stack.info.simulator_url)
        self.client = self.google.client()

    def close(self) -> None:
        self.queue.do("truncate private.google_tokens")
        self.queue.close()
        self.google.heal()
        self.google.close()

    def person(self, *, expires_in: int = 1, ring: KeyRing = RING) -> Person:
        """Somebody who has consented; their access token expires when it is said to."""
        granted = self.google.consent(self.client)
        refresh, access = granted["refresh_token"], granted["access_token"]
        user_id = self.connections.connect(
            ring=ring, refresh=refresh, access=access, expires_in=expires_in
        )
        return Person(user_id, refresh, access)

    def row(self, person: Person) -> Row:
        return self.connections.row(person.id)

    def opened(self, person: Person, ring: KeyRing = RING) -> str:
        """The access token that the database holds, opened."""
        row = self.row(person)
        owner = UUID(person.id)
        return ring.open(row["sealed_access_token"], owner, Kind.ACCESS, row["key_id"])

    def google_of(self, person: Person) -> Row:
        return self.google.grant(person.refresh_token)

    def settings(self, **changes: Any) -> dict[str, Any]:
        """What makes a worker refresh at once and often."""
        return {
            "token_keys": KEY_TEXTS,
            "token_key_id": "k1",
            "google_client_id": self.client.id,
            "google_client_secret": self.client.secret,
            "google_token_url": self.google.token_url,
            "token_refresh_seconds": 0.1,
            "realtime": False,
            **changes,
        }

    @asynccontextmanager
    async def tokens(self, **changes: Any) -> AsyncIterator[GoogleTokens]:
        """What asks for access tokens, as a process of its own would."""
        info = self.stack.info
        async with (
            supabase_client(info.api_url, info.secret_key) as client,
            instance_session(5.0) as session,
        ):
            google = GoogleOAuth(
                session,
                token_url=self.google.token_url,
                timeout_seconds=changes.pop("timeout_seconds", 10.0),
                client_id=self.client.id,
                client_secret=changes.pop("client_secret", self.client.secret),
            )
            refresh = TokenRefresh(changes.pop("ring", RING), google, at_once=10)
            yield GoogleTokens(
                TokenClient(Rpc(client), "tests"), refresh, **{"poll_seconds": 0.02, **changes}
            )


@contextmanager
def token_world(stack: LocalStack) -> Iterator[TokenWorld]:
    world = TokenWorld(stack)
    try:
        yield world
    finally:
        world.close()
