"""The queue's RPCs: what is sent, how errors are read, and what a lost claim means."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web

from flowstate_worker.clients.database_clock import DatabaseClock
from flowstate_worker.clients.queue_client import QueueClient
from flowstate_worker.clients.supabase_client import supabase_client
from flowstate_worker.errors import (
    ApiError,
    ApiKeyRefused,
    ApiRefused,
    ApiUnreachable,
    MigrationsMissing,
)
from flowstate_worker.rules.models import FinishItem, Outcome
from tests.worker.builders import execution, proof
from tests.worker.fake_api import FakeApi, hang, refuse, rows

CLAIM = "claim_flow_executions"


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (401, "", ApiKeyRefused),
        (401, "PGRST301", ApiKeyRefused),
        (401, "PGRST303", ApiKeyRefused),
        (403, "42501", ApiKeyRefused),
        (404, "PGRST202", MigrationsMissing),
        (404, "42883", MigrationsMissing),
        (400, "PT400", ApiRefused),
        (400, "22P05", ApiRefused),
        (413, "", ApiRefused),
        (503, "PGRST000", ApiUnreachable),
        (503, "PGRST002", ApiUnreachable),
        (504, "PGRST003", ApiUnreachable),
        (500, "57P01", ApiUnreachable),
        (500, "40001", ApiUnreachable),
        (500, "40P01", ApiUnreachable),
        (500, "57014", ApiUnreachable),
        (400, "55P03", ApiUnreachable),
        (405, "25006", ApiUnreachable),  # a read-only database: a failover under way
        (400, "0A000", ApiUnreachable),  # a standby
        (400, "", ApiUnreachable),  # the connection to Postgres broke in mid-statement
        (502, "", ApiUnreachable),
        (429, "", ApiUnreachable),
    ],
)
async def test_an_error_says_whether_another_try_can_help(
    queue: QueueClient, api: FakeApi, status: int, code: str, expected: type[ApiError]
) -> None:
    api.on[CLAIM] = [refuse(status, code)]
    with pytest.raises(ApiError) as raised:
        await queue.claim(1, lease_seconds=60)
    assert type(raised.value) is expected
    assert raised.value.status == status


async def test_no_answer_in_time_is_unreachable(queue: QueueClient, api: FakeApi) -> None:
    api.on[CLAIM] = [hang()]
    with pytest.raises(ApiUnreachable):
        await queue.claim(1, lease_seconds=60)


@pytest.mark.parametrize("status", [200, 302, 404, 410, 502, 540])
async def test_a_page_that_is_not_the_apis_says_nothing_about_the_request(
    queue: QueueClient, api: FakeApi, status: int
) -> None:
    async def page(_params: dict[str, Any]) -> web.Response:
        return web.Response(status=status, text="<html>Down for maintenance</html>")

    names = (CLAIM, "finish_flow_executions", "rescue_expired_executions", "maintain_queue")
    api.always = dict.fromkeys(names, page)
    for call in (
        queue.claim(1, lease_seconds=60),
        queue.finish([FinishItem(proof=proof(execution()), outcome=Outcome.RELEASED)]),
        queue.rescue(),
        queue.maintain(),
    ):
        with pytest.raises(ApiUnreachable):
            await call


async def test_a_claim_is_never_repeated_by_itself(queue: QueueClient, api: FakeApi) -> None:
    api.on[CLAIM] = [refuse(503, "PGRST001")]
    with pytest.raises(ApiUnreachable):
        await queue.claim(1, lease_seconds=60)
    assert len(api.named(CLAIM)) == 1


async def test_heartbeats_name_their_leases_so_that_lost_claims_can_end(
    queue: QueueClient, api: FakeApi
) -> None:
    await queue.heartbeat([], lease_seconds=60)
    assert api.named("heartbeat_flow_executions")[0]["leases"] == []


async def test_nobody_listening_is_unreachable() -> None:
    async with supabase_client("http://127.0.0.1:9", "sb_secret_x") as supabase:
        queue = QueueClient(supabase, "tests", clock=DatabaseClock())
        with pytest.raises(ApiUnreachable):
            await queue.rescue()


async def test_an_error_holds_no_key_and_no_address(queue: QueueClient, api: FakeApi) -> None:
    api.on[CLAIM] = [refuse(400, "PT400", "bad sb_secret_CANARY of canary@example.com")]
    with pytest.raises(ApiRefused) as raised:
        await queue.claim(1, lease_seconds=60)
    assert "CANARY" not in str(raised.value)
    assert "canary" not in str(raised.value)


async def test_an_unreadable_row_is_told_apart_and_spoils_no_other(
    queue: QueueClient, api: FakeApi
) -> None:
    good, bad = execution(), execution()
    broken: dict[str, Any] = {**bad.model_dump(mode="json"), "steps": "no list", "tier": None}
    api.on[CLAIM] = [rows(good.model_dump(mode="json"), broken)]
    claim = await queue.claim(2, lease_seconds=60)
    assert claim.executions == [good]
    assert claim.unreadable == [proof(bad)]


async def test_answers_that_do_not_fit_the_question_are_refused(
    queue: QueueClient, api: FakeApi
) -> None:
    api.on["heartbeat_flow_executions"] = [rows()]
    with pytest.raises(ApiUnreachable, match="0 answers to 1 items"):
        await queue.heartbeat([proof(execution())], lease_seconds=60)


def test_signatures_carry_the_databases_time_and_not_the_machines() -> None:
    machine = {"monotonic": 1000.0}
    clock = DatabaseClock(lambda: machine["monotonic"], lambda: 5.0)
    assert clock.now() == 5.0
    there = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
    machine["monotonic"] = 1000.2
    clock.lease_granted(there + timedelta(seconds=60), 60, asked_at=1000.0)
    machine["monotonic"] = 1010.1
    assert clock.now() == pytest.approx(there.timestamp() + 10.0)
