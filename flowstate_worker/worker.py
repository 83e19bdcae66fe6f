"""The composition root: builds the loops, runs them, and drains them.

Life of a worker
1. Register with the queue. Wrong key or missing migrations end it at once; an API that does not
   answer is tried again, with jitter, for `start_timeout_seconds`.
2. Run. If any loop dies the worker ends with LoopDied: leases end, others rescue.
3. Drain, once told to: claim no more; wait `grace_seconds` for what runs; then stop the rest. An
   attempt whose call has not begun is given back. One whose call has begun is not given back, since
   the script may be running: it ends as "drained", bound to its instance, where the next attempt
   asks for the result before it runs anything. Then the outcomes are stored, and that is all.
"""

import asyncio
import platform
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from importlib.metadata import version
from random import Random

import aiohttp
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay
from tenacity.wait import wait_random_exponential

from flowstate_worker.clients.apps_script import AppsScriptClient, Budgets
from flowstate_worker.clients.database_clock import DatabaseClock
from flowstate_worker.clients.google_oauth import google_oauth
from flowstate_worker.clients.hops import instance_session
from flowstate_worker.clients.queue_client import QueueClient
from flowstate_worker.clients.rpc import Rpc
from flowstate_worker.clients.supabase_client import supabase_client
from flowstate_worker.clients.token_client import TokenClient
from flowstate_worker.clients.token_refresh import TokenRefresh
from flowstate_worker.errors import ApiError, ApiUnreachable, OutcomesNotStored
from flowstate_worker.logs import get_logger
from flowstate_worker.loops.attempts import Attempts
from flowstate_worker.loops.claimer import Claimer
from flowstate_worker.loops.executor import Executor
from flowstate_worker.loops.finisher import Finisher
from flowstate_worker.loops.lease_keeper import LeaseKeeper
from flowstate_worker.loops.leases import End, LeaseBook
from flowstate_worker.loops.maintenance import Housekeeping, Rescue
from flowstate_worker.loops.supervisor import Supervisor
from flowstate_worker.loops.token_refresher import TokenRefresher
from flowstate_worker.loops.wake_ups import WakeUps
from flowstate_worker.metrics import Metrics
from flowstate_worker.rules.addresses import Addresses
from flowstate_worker.settings import Settings
from flowstate_worker.signals import Moment, Signals
from flowstate_worker.status_server import Status, status_server

_log = get_logger(__name__)


class Worker:
    """One worker. Make it inside the event loop, `run` it once; `drain` may be called any time."""

    def __init__(
        self,
        settings: Settings,
        *,
        signals: Signals | None = None,
        rng: Random | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._rng = rng or Random()  # noqa: S311 - jitter, not secrets
        self._monotonic = monotonic
        self._told_to_drain = asyncio.Event()
        self._registered = False
        self._refresher: TokenRefresher | None = None
        self._answered_at = float("-inf")
        self.signals = signals or Signals()
        self.metrics = Metrics()
        self.supervisor = Supervisor()
        self.leases = LeaseBook(settings.max_in_flight)
        self.status_port: int | None = None
        self.metrics.in_flight.set_function(lambda: len(self.leases))

    def drain(self) -> None:
        """Begin to end. Every further call changes nothing."""
        if not self._told_to_drain.is_set():
            _log.info("draining", in_flight=len(self.leases))
            self._told_to_drain.set()
            self.signals.happened(Moment.DRAINING)

    async def run(self) -> None:
        """Work until drained. Raises the errors of `flowstate_worker.errors` with exit codes."""
        settings = self._settings
        async with AsyncExitStack() as stack:
            status = Status(self._health, self._readiness, self.metrics.text)
            self.status_port = await stack.enter_async_context(
                status_server(status, settings.status_host, settings.status_port)
            )
            _log.info("status_server", host=settings.status_host, port=self.status_port)
            client = await stack.enter_async_context(
                supabase_client(
                    settings.supabase_url,
                    settings.service_key.get_secret_value(),
                    timeout_seconds=settings.api_timeout_seconds,
                )
            )
            session = await stack.enter_async_context(instance_session(settings.connect_seconds))
            stack.push_async_callback(self.supervisor.stop)

            clock = DatabaseClock(self._monotonic)
            queue = QueueClient(
                client,
                settings.processor_id,
                clock=clock,
                timeout_seconds=settings.api_timeout_seconds,
                observe=self._observe,
            )
            instances = AppsScriptClient(
                session,
                Addresses(settings.exec_hosts, settings.echo_hosts),
                {kid: key.get_secret_value() for kid, key in settings.instance_keys.items()},
                now=clock.now,
                budgets=Budgets(
                    settings.script_seconds,
                    settings.first_hop_seconds,
                    settings.echo_seconds,
                    settings.connect_seconds,
                ),
            )
            rpc = Rpc(client, timeout_seconds=settings.api_timeout_seconds, observe=self._observe)
            if not await self._unless_drained(self._prepare(queue, rpc, session)):
                return
            claimer, finisher = self._start_loops(queue, instances)
            self.signals.happened(Moment.READY)
            _log.info("ready", processor_id=settings.processor_id, max=settings.max_in_flight)
            await self.supervisor.guard(self._until_drained(claimer, finisher))
            _log.info("drained")

    async def _prepare(self, queue: QueueClient, rpc: Rpc, session: aiohttp.ClientSession) -> None:
        settings = self._settings
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(ApiUnreachable),
            stop=stop_after_delay(settings.start_timeout_seconds),
            wait=wait_random_exponential(multiplier=0.2, max=5.0),
            reraise=True,
        ):
            with attempt:
                await queue.register(
                    host=platform.node(),
                    version=version("flowstate"),
                    max_in_flight=settings.max_in_flight,
                )
                if settings.refreshes_tokens:
                    self._refresher = await self._token_refresher(rpc, session)
        self._registered = True

    async def _token_refresher(self, rpc: Rpc, session: aiohttp.ClientSession) -> TokenRefresher:
        settings = self._settings
        tokens = TokenClient(rpc, settings.processor_id)
        return TokenRefresher(
            tokens,
            TokenRefresh(
                settings.key_ring() or settings.key_ring_of(await tokens.vault_keys()),
                google_oauth(settings, session),
                at_once=settings.token_refresh_at_once,
            ),
            settings,
            metrics=self.metrics,
            signals=self.signals,
            rng=self._rng,
        )

    def _start_loops(
        self, queue: QueueClient, instances: AppsScriptClient
    ) -> tuple[Claimer, Finisher]:
        settings, metrics, signals, rng = self._settings, self.metrics, self.signals, self._rng
        finisher = Finisher(
            queue,
            self.leases,
            metrics=metrics,
            signals=signals,
            batch=settings.finish_batch,
            tick_seconds=settings.finish_tick_seconds,
            capacity=settings.finish_batch * 4,
        )
        metrics.unstored.set_function(lambda: finisher.unstored)
        executor = Executor(
            instances,
            rng=rng,
            signals=signals,
            script_seconds=settings.script_seconds,
            monotonic=self._monotonic,
        )
        attempts = Attempts(
            self.leases,
            executor,
            finisher,
            metrics=metrics,
            signals=signals,
            rng=rng,
            on_crash=lambda error: self.supervisor.report("attempt", error),
        )
        claimer = Claimer(
            queue,
            self.leases,
            attempts,
            lease_seconds=settings.lease_seconds,
            batch=settings.claim_batch,
            poll_min_seconds=settings.poll_min_seconds,
            poll_max_seconds=settings.poll_max_seconds,
            interval_seconds=settings.claim_interval_seconds,
            metrics=metrics,
            signals=signals,
            rng=rng,
            monotonic=self._monotonic,
        )
        self.leases.on_free = claimer.nudge
        keeper = LeaseKeeper(
            queue,
            self.leases,
            lease_seconds=settings.lease_seconds,
            heartbeat_seconds=settings.heartbeat,
            metrics=metrics,
            signals=signals,
            rng=rng,
            monotonic=self._monotonic,
        )
        rescue = Rescue(
            queue, seconds=settings.rescue_seconds, metrics=metrics, signals=signals, rng=rng
        )
        housekeeping = Housekeeping(queue, seconds=settings.maintain_seconds, rng=rng)
        start = self.supervisor.start
        start("finisher", finisher.run())
        start("lease_keeper", keeper.run())
        start("claimer", claimer.run())
        start("rescue", rescue.run())
        start("housekeeping", housekeeping.run())
        if self._refresher is not None:
            start("token_refresher", self._refresher.run())
        if settings.realtime:
            wake_ups = WakeUps(
                settings.supabase_url,
                settings.service_key.get_secret_value(),
                claimer.nudge,
                metrics=metrics,
                signals=signals,
                rng=rng,
            )
            start("wake_ups", wake_ups.run())
        return claimer, finisher

    async def _until_drained(self, claimer: Claimer, finisher: Finisher) -> None:
        await self._told_to_drain.wait()
        self.supervisor.stopping = True
        claimer.stop()
        await self.supervisor.joined("claimer")
        if not await _within(self._settings.grace_seconds, self.leases.emptied):
            _log.warning("grace_over", in_flight=len(self.leases))
            for attempt in self.leases:
                attempt.stop(End.DRAINED)
        if not await _within(self._settings.flush_seconds, self.leases.emptied, finisher.flushed):
            raise OutcomesNotStored(
                f"attempts whose outcome could not be stored: {len(self.leases)}. The API did not "
                f"answer within FLOWSTATE_FLUSH_SECONDS ({self._settings.flush_seconds:g} s); they "
                "are rescued when their leases end"
            )

    async def _unless_drained(self, work: Awaitable[None]) -> bool:
        """Wait for `work`, or give it up when told to drain; was it done?"""
        working = asyncio.ensure_future(work)
        told = asyncio.create_task(self._told_to_drain.wait())
        try:
            await asyncio.wait({working, told}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                return False
            working.result()
            return True
        finally:
            told.cancel()
            working.cancel()

    def _observe(self, call: str, error: ApiError | None) -> None:
        if error is None or not isinstance(error, ApiUnreachable):
            self._answered_at = self._monotonic()
        if error is not None:
            self.metrics.api_errors.labels(call, type(error).__name__).inc()

    def _health(self) -> dict[str, bool]:
        return self.supervisor.alive()

    def _readiness(self) -> dict[str, bool]:
        settings = self._settings
        patience = settings.heartbeat + settings.api_timeout_seconds
        return {
            "registered": self._registered,
            "not_draining": not self._told_to_drain.is_set(),
            "api_answers": self._monotonic() - self._answered_at < patience,
        }


async def _within(seconds: float, *waits: Callable[[], Awaitable[None]]) -> bool:
    """Were all of these over in time?"""
    try:
        async with asyncio.timeout(seconds):
            for wait in waits:
                await wait()
    except TimeoutError:
        return False
    return True
