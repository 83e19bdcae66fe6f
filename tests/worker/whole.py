"""A whole worker inside the test's own loop, against the local stack."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from flowstate_local import LocalStack
from flowstate_worker.settings import Settings, load_settings
from flowstate_worker.signals import Moment
from flowstate_worker.worker import Worker
from tests.faults.world import World
from tests.worker.waiting import until

FINAL = {"succeeded", "failed", "dead", "cancelled"}

QUICK: dict[str, Any] = {
    "lease_seconds": 6,
    "heartbeat_seconds": 0.5,
    "api_timeout_seconds": 4.0,
    "poll_max_seconds": 0.2,
    "rescue_seconds": 0.5,
    "echo_seconds": 0.5,
    "grace_seconds": 5.0,
    "log_level": "error",
}


def settings_for(stack: LocalStack, **overrides: Any) -> Settings:
    info = stack.info
    return load_settings(
        **{
            "supabase_url": info.api_url,
            "service_key": info.secret_key,
            "instance_keys": info.instance_keys,
            "exec_hosts": info.simulator_url.removeprefix("http://"),
            "echo_hosts": info.echo_url.removeprefix("http://"),
            **QUICK,
            **overrides,
        }
    )


@asynccontextmanager
async def running_worker(stack: LocalStack, **overrides: Any) -> AsyncIterator[Worker]:
    """A worker that is ready; drained at the end of the block."""
    worker = Worker(settings_for(stack, **overrides))
    running = asyncio.create_task(worker.run())
    try:
        await until(lambda: running.done() or worker.signals.count(Moment.READY))
        yield worker
    finally:
        worker.drain()
        await running


async def ended(world: World, *execution_ids: str) -> list[str]:
    """Waits until all have ended; their states. Whatever is to be tried again is tried at once."""

    def all_ended() -> bool:
        world.queue.do(
            "update public.flow_execution_queue set run_at = now() where state = 'scheduled'"
        )
        return all(world.state(one) in FINAL for one in execution_ids)

    await until(all_ended, seconds=40.0)
    return [world.state(one) for one in execution_ids]
