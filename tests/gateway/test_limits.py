"""What a client is told of its limits, as draft-ietf-httpapi-ratelimit-headers-11 has it."""

import json
from dataclasses import dataclass
from typing import Any

import aiohttp

from flowstate_local import StackInfo

from .conftest import Person, SignUp

STEPS = {"steps": [{"name": "find", "type": "gmail.search", "args": {"query": "is:unread"}}]}


@dataclass(frozen=True)
class Answer:
    status: int
    body: dict[str, Any]
    policy: str | None
    limit: str | None
    retry_after: str | None


async def enqueue(
    http: aiohttp.ClientSession, info: StackInfo, person: Person, **arguments: Any
) -> Answer:
    async with http.post(
        f"{info.api_url}/rest/v1/rpc/enqueue_flow_execution",
        json=arguments,
        headers={"apikey": info.publishable_key, "Authorization": f"Bearer {person.access_token}"},
    ) as answer:
        policy, limit, retry_after = map(
            answer.headers.get, ("RateLimit-Policy", "RateLimit", "Retry-After")
        )
        return Answer(answer.status, await answer.json(), policy, limit, retry_after)


async def make_flow(person: Person, **columns: Any) -> str:
    row = {"user_id": person.id, "name": "unread", "definition": STEPS, **columns}
    answer = await person.client.table("flows").insert(row).execute()
    [flow] = answer.data
    assert isinstance(flow, dict)
    return str(flow["id"])


async def test_every_answer_says_what_remains_and_a_refusal_when_to_come_back(
    http: aiohttp.ClientSession, info: StackInfo, sign_up: SignUp
) -> None:
    person = await sign_up()
    flow = await make_flow(person)
    for remaining in (4, 3, 2, 1, 0):
        answer = await enqueue(http, info, person, flow_id=flow)
        assert (answer.status, answer.retry_after) == (200, None)
        assert answer.policy == '"hour";q=5;w=3600'
        assert answer.limit == f'"hour";r={remaining}'

    refused = await enqueue(http, info, person, flow_id=flow)
    assert refused.status == 429
    assert refused.policy == '"hour";q=5;w=3600'
    assert refused.retry_after is not None
    assert 3500 < int(refused.retry_after) <= 3600
    # The draft: Retry-After shall not be earlier than the end of the effective window.
    assert refused.limit == f'"hour";r=0;t={refused.retry_after}'
    assert refused.body["code"] == "PT429"
    assert refused.body["message"] == "your limit of 5 executions per hour is reached"
    assert json.loads(refused.body["details"]) == {
        "window": "hour",
        "window_seconds": 3600,
        "limit": 5,
        "remaining": 0,
        "retry_after_seconds": int(refused.retry_after),
    }

    deferred = await enqueue(http, info, person, flow_id=flow, on_limit="defer")
    assert (deferred.status, deferred.body["state"]) == (200, "scheduled")
    assert deferred.limit is not None
    assert deferred.limit.startswith('"hour";r=0;t=3')


async def test_a_person_limits_their_own_flow_and_is_told_of_its_burst(
    http: aiohttp.ClientSession, info: StackInfo, sign_up: SignUp
) -> None:
    person = await sign_up()
    flow = await make_flow(person, burst_limit=1, burst_seconds=30)
    accepted = await enqueue(http, info, person, flow_id=flow)
    assert accepted.policy == '"flow_burst";q=1;w=30'
    assert accepted.limit == '"flow_burst";r=0'
    refused = await enqueue(http, info, person, flow_id=flow)
    assert refused.status == 429
    assert refused.body["message"] == "the flow's limit of 1 executions per 30 s is reached"
    assert refused.limit == f'"flow_burst";r=0;t={refused.retry_after}'
    await person.client.table("flows").update({"burst_limit": None}).eq("id", flow).execute()
    free_again = await enqueue(http, info, person, flow_id=flow)
    assert free_again.limit == '"hour";r=3'
