"""Calls instances: the signed POST, and the reading of its answer behind the redirect.

A web app answers `POST …/exec` with a redirect to where the answer can be read, with GET, once or
for a short while. The script has then run already. So a lost second hop is read again, and never
posted again; and a redirect back to `/exec` is not followed, since that would run `doGet` and bring
a plausible, foreign answer.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import aiohttp
import orjson

from flowstate_worker.clients.hops import Cookies, Hops
from flowstate_worker.errors import AddressRefused
from flowstate_worker.rules.addresses import Addresses
from flowstate_worker.rules.classification import (
    HopAnswer,
    Verdict,
    failed,
    judge_echo,
    judge_exec,
    must_follow,
)
from flowstate_worker.rules.models import ClaimedExecution
from flowstate_worker.rules.signing import SigningKey, sign


class Op(StrEnum):
    RUN = "run"
    RESULT = "result"


@dataclass(frozen=True, slots=True)
class Budgets:
    """Seconds for each part of an exchange, and between readings of a lost answer."""

    script_seconds: float = 300.0
    first_hop_seconds: float = 390.0
    echo_seconds: float = 18.0
    connect_seconds: float = 10.0
    reread_seconds: tuple[float, ...] = (0.3, 0.7, 1.5)


class AppsScriptClient:
    """Signs and sends requests; says what came of them. It decides nothing about attempts.

    `keys`: secrets by kid. `now`: Unix seconds that the instances' clocks agree with.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        addresses: Addresses,
        keys: Mapping[str, str],
        *,
        now: Callable[[], float],
        budgets: Budgets,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._addresses = addresses
        self._keys = {kid: SigningKey(kid, secret.encode()) for kid, secret in keys.items()}
        self._now = now
        self._budgets = budgets
        self._sleep = sleep
        self._hops = Hops(session, addresses, connect_seconds=budgets.connect_seconds)

    def refusal(self, execution: ClaimedExecution) -> Verdict | None:
        """Why this execution's instance cannot be called at all, if so."""
        if execution.instance_key_id not in self._keys:
            return failed("unknown_key", "unknown_key")
        try:
            self._addresses.check_exec(execution.instance_url)
        except AddressRefused:
            return failed("address_refused", "address_refused")
        return None

    async def call(self, op: Op, execution: ClaimedExecution) -> Verdict:
        """One exchange with the execution's instance, both hops. Call only if `refusal` is None."""
        execution_id = str(execution.execution_id)
        cookies = Cookies()
        answer, location = await self._hops.send(
            "POST",
            execution.instance_url,
            seconds=self._first_hop_seconds(op),
            cookies=cookies,
            body=self._envelope(op, execution),
        )
        if location is None or not must_follow(answer):
            return judge_exec(answer, execution_id)
        return await self._read_answer(location, execution_id, cookies)

    async def _read_answer(self, location: str, execution_id: str, cookies: Cookies) -> Verdict:
        verdict = judge_echo(await self._read_echo(location, cookies), execution_id)
        for pause in self._budgets.reread_seconds:
            if not verdict.reread:
                break
            await self._sleep(pause)
            verdict = judge_echo(await self._read_echo(location, cookies), execution_id)
        return verdict

    async def _read_echo(self, location: str, cookies: Cookies) -> HopAnswer:
        answer, _ = await self._hops.send(
            "GET", location, seconds=self._budgets.echo_seconds, cookies=cookies
        )
        return answer

    def _first_hop_seconds(self, op: Op) -> float:
        # Looking a result up takes no script time to speak of.
        return self._budgets.first_hop_seconds if op is Op.RUN else 60.0

    def _envelope(self, op: Op, execution: ClaimedExecution) -> bytes:
        body: dict[str, Any] = {
            "op": op.value,
            "executionId": execution.execution_id,
            "attempt": execution.attempt,
            "instance": execution.instance_name,
        }
        if op is Op.RUN:
            limit = self._budgets.script_seconds
            seconds = min(execution.deadline_seconds or limit, limit)
            body["flow"] = {"id": execution.flow_id, "name": execution.flow_name}
            body["steps"] = execution.steps
            body["input"] = execution.input
            body["deadlineMs"] = int(seconds * 1000)
        return orjson.dumps(
            sign(
                self._keys[execution.instance_key_id],
                orjson.dumps(body),
                ts=int(self._now()),
                nonce=secrets.token_urlsafe(16),
            )
        )
