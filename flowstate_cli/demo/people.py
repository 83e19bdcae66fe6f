"""The demo's users, each with a Supabase client and an access token of their own."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport
from postgrest.exceptions import APIError
from supabase import AsyncClient, AsyncClientOptions, acreate_client

from flowstate_cli.demo.flows import INPUT, Kind
from flowstate_cli.demo.plan import Ask, Person
from flowstate_cli.errors import RefusedError

AT_ONCE = 12
"""Requests of all users together that are under way at a time."""
OWN_TOKEN_ASKS = 2000
"""So many runs are asked for by users themselves; what is beyond goes in bulk, to save time."""
_BULK = 1000

Item = TypeVar("Item")


@dataclass
class Admission:
    """What the queue said to each ask."""

    accepted: dict[str, Ask] = field(default_factory=dict)
    """By execution id."""
    accepted_by_tier: Counter[str] = field(default_factory=Counter)
    refused_by_tier: Counter[str] = field(default_factory=Counter)
    by_own_token: int = 0
    in_bulk: int = 0
    is_complete: bool = False

    @property
    def refused(self) -> int:
        return self.refused_by_tier.total()

    def accept(self, execution_id: str, ask: Ask) -> None:
        self.accepted[execution_id] = ask
        self.accepted_by_tier[ask.person.tier] += 1

    def refuse(self, ask: Ask) -> None:
        self.refused_by_tier[ask.person.tier] += 1


@dataclass(frozen=True)
class SignedUp:
    """A user who has signed up and stored flows."""

    user_id: str
    client: AsyncClient
    flow_ids: dict[str, str]
    """By the kind's name."""


class People:
    """All users. Make it with `people_of`."""

    def __init__(self, url: str, key: str, http: httpx.AsyncClient) -> None:
        self._url = url
        self._key = key
        self._http = http
        self.members: dict[int, SignedUp] = {}

    async def sign_up(self, persons: Iterable[Person]) -> None:
        """Each signs up with a password of their own, and stores their flows."""
        await _all_of(persons, self._sign_up_one)

    async def ask_for_runs(
        self, asks: Iterable[Ask], service: AsyncClient, admission: Admission
    ) -> None:
        """Queue the runs, and note in `admission` what was said."""
        waiting = iter(asks)
        own = list(islice(waiting, OWN_TOKEN_ASKS))

        async def ask_one(ask: Ask) -> None:
            await self._ask(ask, admission)

        await _all_of(own, ask_one)
        while batch := list(islice(waiting, _BULK)):
            await self._ask_in_bulk(batch, service, admission)
        admission.is_complete = True

    async def _sign_up_one(self, person: Person) -> None:
        options = AsyncClientOptions(
            auto_refresh_token=False, persist_session=False, httpx_client=self._http
        )
        client = await acreate_client(self._url, self._key, options)
        credentials = {"email": person.email, "password": secrets.token_urlsafe(16)}
        answer = await client.auth.sign_up(credentials)  # type: ignore[arg-type]
        assert answer.user is not None
        user_id = answer.user.id
        rows = [_flow_row(user_id, kind) for kind in person.kinds]
        stored: list[Any] = (await client.table("flows").insert(rows).execute()).data
        flow_ids = {row["name"]: row["id"] for row in stored}
        self.members[person.number] = SignedUp(user_id, client, flow_ids)

    async def _ask(self, ask: Ask, admission: Admission) -> None:
        member = self.members[ask.person.number]
        arguments = {"flow_id": member.flow_ids[ask.kind.name], "input": INPUT}
        admission.by_own_token += 1
        try:
            answer: Any = await member.client.rpc("enqueue_flow_execution", arguments).execute()
        except APIError as error:
            if error.code != "PT429":
                raise
            admission.refuse(ask)
            return
        admission.accept(answer.data["execution_id"], ask)

    async def _ask_in_bulk(
        self, asks: list[Ask], service: AsyncClient, admission: Admission
    ) -> None:
        items = [
            {"flow_id": self.members[a.person.number].flow_ids[a.kind.name], "input": INPUT}
            for a in asks
        ]
        admission.in_bulk += len(asks)
        answer: Any = await service.rpc("enqueue_flow_executions", {"items": items}).execute()
        for row in answer.data:
            ask = asks[row["item"]]
            if row["refused"] is None:
                admission.accept(row["execution_id"], ask)
            elif row["refused"].endswith("_limit"):
                admission.refuse(ask)
            else:
                raise RefusedError(f"A run was not queued: {row['refused']}.")


@asynccontextmanager
async def people_of(url: str, publishable_key: str) -> AsyncIterator[People]:
    """Users of the project at `url`, over one pool of connections."""

    def session() -> aiohttp.ClientSession:
        # Cookies would be shared by users who have nothing to do with each other.
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=AT_ONCE), cookie_jar=aiohttp.DummyCookieJar()
        )

    transport = AiohttpTransport(client=session)
    async with httpx.AsyncClient(transport=transport, timeout=30) as http:
        yield People(url, publishable_key, http)


async def _all_of(items: Iterable[Item], work: Callable[[Item], Awaitable[None]]) -> None:
    """`work` for each item, `AT_ONCE` at a time. The first failure ends the others."""
    waiting = iter(items)

    async def lane() -> None:
        for item in waiting:
            await work(item)

    async with asyncio.TaskGroup() as lanes:
        for _ in range(AT_ONCE):
            lanes.create_task(lane())


def _flow_row(user_id: str, kind: Kind) -> dict[str, Any]:
    return {"user_id": user_id, "name": kind.name, "definition": kind.definition}
