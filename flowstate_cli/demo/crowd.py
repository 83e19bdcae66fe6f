"""The demo's busy part: users sign up and queue runs, until the worker has emptied the queue."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from supabase import AsyncClient

from flowstate_cli.demo.people import OWN_TOKEN_ASKS, Admission, People, people_of
from flowstate_cli.demo.plan import TIERS, Person, make_asks
from flowstate_cli.demo.progress import Progress, count
from flowstate_cli.demo.worker import WorkerProcess
from flowstate_worker.clients.supabase_client import supabase_client

if TYPE_CHECKING:
    from flowstate_local import StackInfo

_LOOK_SECONDS = 0.4
_PROFILES_AT_ONCE = 100  # ids in one address


async def run_crowd(
    info: StackInfo, people: Sequence[Person], worker: WorkerProcess, progress: Progress
) -> Admission:
    """What was accepted, once nothing of it is queued any more or the wait for that was too long.

    Raises RefusedError when the worker ends.
    """
    async with (
        supabase_client(info.api_url, info.secret_key) as service,
        people_of(info.api_url, info.publishable_key) as crowd,
    ):
        flows = sum(len(person.kinds) for person in people)
        progress.say(f"{count(len(people), 'user')} sign up and store {count(flows, 'flow')}.")
        await crowd.sign_up(people)
        await _set_tiers(service, crowd, people)
        await _until_registered(service, worker)
        asks = make_asks(people)
        in_bulk = max(0, len(asks) - OWN_TOKEN_ASKS)
        progress.say(
            f"They queue {count(len(asks) - in_bulk, 'run')} with their own access tokens"
            + (f"; {in_bulk} more are queued for them in bulk." if in_bulk else ".")
        )
        admission = Admission()
        with progress.watching():
            async with asyncio.TaskGroup() as group:
                group.create_task(crowd.ask_for_runs(asks, service, admission))
                await _until_drained(service, admission, len(asks), worker, progress)
        return admission


async def _set_tiers(service: AsyncClient, crowd: People, people: Sequence[Person]) -> None:
    """Everybody begins on the free tier; only the service may change that."""
    for tier in TIERS[1:]:
        ids = [crowd.members[person.number].user_id for person in people if person.tier == tier]
        for first in range(0, len(ids), _PROFILES_AT_ONCE):
            some = ids[first : first + _PROFILES_AT_ONCE]
            query = service.table("user_profiles").update({"tier": tier})
            await query.in_("user_id", some).execute()


async def _until_registered(service: AsyncClient, worker: WorkerProcess) -> None:
    """The worker gives up by itself when it cannot reach the API."""
    while not (await _queue_status(service))["processors"]:
        worker.check()
        await asyncio.sleep(_LOOK_SECONDS / 4)


async def _queue_status(service: AsyncClient) -> dict[str, Any]:
    answer: Any = await service.rpc("get_queue_status", {}).execute()
    status: dict[str, Any] = answer.data
    return status


async def _until_drained(
    service: AsyncClient, admission: Admission, asks: int, worker: WorkerProcess, progress: Progress
) -> None:
    give_up_at = float("inf")
    while True:
        was_complete = admission.is_complete
        queue = await _queue_status(service)
        progress.update(admission, queue)
        worker.check()
        if was_complete:
            if not sum(queue["states"].values()):
                return
            give_up_at = min(give_up_at, time.monotonic() + 60 + asks / 20)
            if time.monotonic() > give_up_at:
                progress.say("The queue does not drain; no longer waiting for it.")
                return
        await asyncio.sleep(_LOOK_SECONDS)
