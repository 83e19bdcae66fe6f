"""The two hops: what the client sends, follows, reads again, and never does."""

import asyncio
import gzip
from typing import Any

import pytest
from aiohttp import web

from flowstate_worker.clients.apps_script import AppsScriptClient, Op
from flowstate_worker.clients.hops import MAX_BODY_BYTES, instance_session
from flowstate_worker.rules.addresses import Addresses
from flowstate_worker.rules.classification import Meaning, Verdict
from flowstate_worker.rules.models import ClaimedExecution, Ran
from tests.worker.builders import execution
from tests.worker.conftest import SHORT
from tests.worker.fake_instance import KID, SECRET, FakeInstance, Handler


@pytest.fixture
def claimed(instance: FakeInstance) -> ClaimedExecution:
    return execution(instance_url=instance.url)


def answer(*args: Any, **kwargs: Any) -> Handler:
    async def handler(_request: web.Request) -> web.Response:
        return web.Response(*args, **kwargs)

    return handler


async def hang(_request: web.Request) -> web.Response:
    await asyncio.Event().wait()
    raise AssertionError


async def drop(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    raise web.HTTPInternalServerError


def category(verdict: Verdict) -> tuple[str, Ran]:
    assert verdict.row is not None
    return verdict.row.name, verdict.ran


async def test_a_call_sends_the_contract_and_reads_the_answer_behind_the_redirect(
    client: AppsScriptClient, instance: FakeInstance, claimed: ClaimedExecution
) -> None:
    verdict = await client.call(Op.RUN, claimed)
    assert verdict.meaning is Meaning.DONE
    assert verdict.result == {"step": {"ran": True}}
    assert instance.requests == [
        {
            "op": "run",
            "executionId": str(claimed.execution_id),
            "attempt": 1,
            "instance": "fake-1",
            "flow": {"id": str(claimed.flow_id), "name": "invoices"},
            "steps": claimed.steps,
            "input": claimed.input,
            "deadlineMs": 60_000,  # the flow's 120 s, cut to what a script may use here
        }
    ]
    assert instance.effects == [str(claimed.execution_id)]


async def test_a_result_is_asked_for_without_the_flow(
    client: AppsScriptClient, instance: FakeInstance, claimed: ClaimedExecution
) -> None:
    assert (await client.call(Op.RESULT, claimed)).meaning is Meaning.ABSENT
    assert set(instance.requests[0]) == {"op", "executionId", "attempt", "instance"}
    assert instance.effects == []


async def test_a_lost_echo_is_read_again_until_it_is_there(
    client: AppsScriptClient, instance: FakeInstance, claimed: ClaimedExecution
) -> None:
    instance.on_echo = [answer(status=404), hang, answer(status=500)]
    assert (await client.call(Op.RUN, claimed)).meaning is Meaning.DONE
    assert instance.echo_reads == 4
    assert len(instance.effects) == 1


async def test_an_echo_that_stays_lost_is_given_up_after_three_more_readings(
    client: AppsScriptClient, instance: FakeInstance, claimed: ClaimedExecution
) -> None:
    instance.on_echo = [answer(status=404)] * 9
    assert category(await client.call(Op.RUN, claimed)) == ("echo_lost", Ran.ALL)
    assert instance.echo_reads == 4
    assert len(instance.requests) == 1  # and nothing was posted again


async def test_a_redirect_back_to_exec_is_not_followed(
    client: AppsScriptClient, instance: FakeInstance, claimed: ClaimedExecution
) -> None:
    instance.on_echo = [answer(status=302, headers={"Location": instance.url})]
    assert category(await client.call(Op.RUN, claimed)) == ("echo_lost", Ran.ALL)
    assert instance.echo_reads == 1
    assert len(instance.requests) == 1


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/macros/echo?user_content_key=x",
        "https://script.google.com/macros/s/AKfycb-other/exec",
        "//evil.example/macros/echo?user_content_key=x",
        "/elsewhere",
        "ftp://x",
    ],
)
async def test_a_first_hop_that_redirects_elsewhere_is_not_followed(
    client: AppsScriptClient, instance: FakeInstance, claimed: ClaimedExecution, location: str
) -> None:
    instance.on_exec = [answer(status=302, headers={"Location": location})]
    assert category(await client.call(Op.RUN, claimed)) == ("odd_redirect", Ran.UNKNOWN)
    assert instance.echo_reads == 0


async def test_a_relative_redirect_to_the_echo_is_understood(
    client: AppsScriptClient, instance: FakeInstance, claimed: ClaimedExecution
) -> None:
    stored = instance.redirect_to(instance.envelope(str(claimed.execution_id)))
    path = stored.headers["Location"].removeprefix(f"http://{instance.host}")
    instance.on_exec = [answer(status=302, headers={"Location": path})]
    assert (await client.call(Op.RUN, claimed)).meaning is Meaning.DONE


async def test_the_answer_to_another_execution_is_no_success(
    client: AppsScriptClient, instance: FakeInstance, claimed: ClaimedExecution
) -> None:
    async def foreign(_request: web.Request) -> web.Response:
        return instance.redirect_to(instance.envelope(str(execution().execution_id)))

    instance.on_exec = [foreign]
    assert category(await client.call(Op.RUN, claimed)) == ("foreign_answer", Ran.UNKNOWN)


async def test_a_page_in_place_of_json_is_read_as_a_page(
    client: AppsScriptClient, instance: FakeInstance, claimed: ClaimedExecution
) -> None:
    page = "<title>Fehler</title><div>Skriptfunktion nicht gefunden: doPost</div>"
    instance.on_exec = [answer(text=page, content_type="text/html")]
    assert category(await client.call(Op.RUN, claimed)) == ("function_missing", Ran.NONE)


@pytest.mark.parametrize("zipped", [False, True])
async def test_a_giant_body_is_not_read_to_its_end(
    client: AppsScriptClient, instance: FakeInstance, claimed: ClaimedExecution, zipped: bool
) -> None:
    giant = b" " * (MAX_BODY_BYTES + 1)
    headers = {"Content-Encoding": "gzip"} if zipped else {}
    body = gzip.compress(giant) if zipped else giant
    instance.on_exec = [answer(body=body, headers=headers)]
    assert category(await client.call(Op.RUN, claimed)) == ("foreign_answer", Ran.UNKNOWN)
    instance.on_echo = [answer(body=body, headers=headers)]
    assert category(await client.call(Op.RUN, claimed)) == ("result_too_large", Ran.ALL)


async def test_a_first_hop_beyond_its_budget_may_have_run(
    client: AppsScriptClient, instance: FakeInstance, claimed: ClaimedExecution
) -> None:
    instance.on_exec = [hang]
    assert category(await client.call(Op.RUN, claimed)) == ("network", Ran.UNKNOWN)


async def test_a_connection_that_breaks_may_have_run(
    client: AppsScriptClient, instance: FakeInstance, claimed: ClaimedExecution
) -> None:
    instance.on_exec = [drop]
    assert category(await client.call(Op.RUN, claimed)) == ("network", Ran.UNKNOWN)
    assert len(instance.requests) == 1  # a POST is never sent again by the connection pool


async def test_no_connection_did_not_run() -> None:
    hosts = ("127.0.0.1:9",)
    async with instance_session(1.0) as session:
        client = AppsScriptClient(
            session, Addresses(hosts, hosts), {KID: SECRET}, now=lambda: 1.7e9, budgets=SHORT
        )
        claimed = execution(instance_url="http://127.0.0.1:9/macros/s/x/exec")
        assert category(await client.call(Op.RUN, claimed)) == ("network", Ran.NONE)


async def test_cookies_return_to_the_host_that_set_them_within_one_exchange(
    client: AppsScriptClient, instance: FakeInstance, claimed: ClaimedExecution
) -> None:
    seen: list[str | None] = []

    async def set_cookie(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Cookie"))
        response = instance.redirect_to(instance.envelope(str(claimed.execution_id)))
        response.set_cookie("S", "1")
        response.set_cookie("other", "2", domain="example.com")
        return response

    async def note(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Cookie"))
        return web.Response(status=404)

    instance.on_exec = [set_cookie, set_cookie]
    instance.on_echo = [note]
    for _ in range(2):
        assert (await client.call(Op.RUN, claimed)).meaning is Meaning.DONE
    assert seen == [None, "S=1", None]


async def test_retry_after_is_read(
    client: AppsScriptClient, instance: FakeInstance, claimed: ClaimedExecution
) -> None:
    instance.on_exec = [answer(status=429, headers={"Retry-After": "17"})]
    assert (await client.call(Op.RUN, claimed)).retry_after_seconds == 17.0


async def test_an_unknown_key_or_address_is_refused_before_anything_is_sent(
    client: AppsScriptClient, instance: FakeInstance, claimed: ClaimedExecution
) -> None:
    assert client.refusal(claimed) is None
    strange_key = client.refusal(execution(instance_url=instance.url, instance_key_id="k9"))
    strange_host = client.refusal(execution())
    assert strange_key is not None
    assert strange_host is not None
    assert category(strange_key) == ("unknown_key", Ran.NONE)
    assert category(strange_host) == ("address_refused", Ran.NONE)
    assert instance.requests == []
