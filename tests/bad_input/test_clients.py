"""An app's mistakes through supabase-py: status, code, the field's name and what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from postgrest.exceptions import APIError
from supabase import Client

from flowstate_local import LocalStack
from tests.bad_input.conftest import FLOW, Contents, Person

NOBODYS = "00000000-0000-4000-8000-000000000000"


def step(kind: str, **arguments: Any) -> dict[str, Any]:
    return {"steps": [{"name": "one", "type": kind, "args": arguments}]}


FLOWS: list[tuple[Any, str]] = [
    (
        step("gmail.shred"),
        "steps[0].type: 'gmail.shred' is no step type; known are calendar.create",
    ),
    (step("gmail.search"), "steps[0].args.query: "),
    (step("gmail.search", query=7), "steps[0].args.query: "),
    (step("gmail.search", query="x", max=101), "steps[0].args.max: "),
    (step("gmail.archive", threads="all"), "steps[0].args.threads: "),
    (step("gmail.search", query="x", limit=5), "steps[0].args.limit: "),
    (step("transform", template="{{later.output}}"), "later"),
    ({"steps": []}, "steps: steps must be a list of 1 to 20 steps"),
    ({"steps": FLOW["steps"], "stepz": 1}, "stepz: a flow has only the field steps"),
    ([], 'a flow is an object {"steps": [...]}'),
    (step("drive.create_file", name="n", content="x" * 262_144), "at most 262144 (256 KB)"),
]


@pytest.mark.parametrize(("definition", "says"), FLOWS)
def test_a_wrong_flow_is_refused_by_its_path(
    person: Person, contents: Contents, definition: Any, says: str
) -> None:
    before = contents()
    row = {"user_id": person.id, "name": "wrong", "definition": definition}
    with pytest.raises(APIError) as refused:
        person.client.table("flows").insert(row).execute()
    assert refused.value.code == "PT400"
    assert (refused.value.message or "").startswith("definition is not a valid flow: ")
    assert says in (refused.value.message or "")
    assert "Correct the flow" in (refused.value.hint or "")
    assert len(str(refused.value)) < 4000
    assert contents() == before


ARGUMENTS: list[tuple[dict[str, Any], str, str]] = [
    ({"flow_id": NOBODYS}, "PT404", f"flow_id: you have no flow {NOBODYS}"),
    ({"flow_id": "mine"}, "22P02", "mine"),
    ({"input": [1]}, "PT400", "input must be a JSON object, not array"),
    ({"input": {"x": "y" * 65_536}}, "PT400", "at most 65536 (64 KB)"),
    ({"priority": 101}, "PT400", "priority must be an integer from -100 to 100, not 101"),
    ({"on_limit": "wait"}, "PT400", "on_limit must be refuse or defer, not 'wait'"),
    ({"idempotency_key": ""}, "PT400", "idempotency_key has 0 characters"),
    ({"run_at": "2999-01-01T00:00:00Z"}, "PT400", "run_at must be a moment at most 366 days"),
    ({"run_att": "now"}, "PGRST202", "run_att"),
]


@pytest.mark.parametrize(("arguments", "code", "says"), ARGUMENTS)
def test_a_wrong_argument_of_an_enqueue_is_refused_by_its_name(
    person: Person, contents: Contents, arguments: dict[str, Any], code: str, says: str
) -> None:
    before = contents()
    with pytest.raises(APIError) as refused:
        person.client.rpc(
            "enqueue_flow_execution", {"flow_id": person.flow_id, **arguments}
        ).execute()
    assert refused.value.code == code
    assert says in (refused.value.message or "")
    assert contents() == before


def test_a_flow_of_somebody_else_is_as_unknown_as_one_that_is_not_there(
    person: Person, stranger: Person, contents: Contents
) -> None:
    before = contents()
    with pytest.raises(APIError) as refused:
        stranger.client.rpc("enqueue_flow_execution", {"flow_id": person.flow_id}).execute()
    assert refused.value.code == "PT404"
    assert refused.value.message == f"flow_id: you have no flow {person.flow_id}"
    flows = stranger.client.table("flows")
    assert flows.update({"name": "taken"}).eq("id", person.flow_id).execute().data == []
    assert flows.delete().eq("id", person.flow_id).execute().data == []
    with pytest.raises(APIError) as refused:
        flows.insert({"user_id": person.id, "name": "planted", "definition": FLOW}).execute()
    assert refused.value.code == "42501"
    assert contents() == before


SERVICE_ONLY: list[tuple[str, dict[str, Any]]] = [
    ("enqueue_flow_executions", {"items": []}),
    ("claim_flow_executions", {"processor_id": "me", "max": 1, "lease_seconds": 5}),
    ("finish_flow_executions", {"results": []}),
    ("rescue_expired_executions", {}),
    ("get_queue_status", {}),
]


@pytest.mark.parametrize(("function", "arguments"), SERVICE_ONLY)
def test_what_is_the_workers_is_refused_to_a_user(
    person: Person, contents: Contents, function: str, arguments: dict[str, Any]
) -> None:
    before = contents()
    with pytest.raises(APIError) as refused:
        person.client.rpc(function, arguments).execute()
    assert refused.value.code == "42501"
    assert function in (refused.value.message or "")
    assert contents() == before


def test_without_signing_in_nothing_is_queued(
    nobody: Client, person: Person, contents: Contents
) -> None:
    before = contents()
    with pytest.raises(APIError) as refused:
        nobody.rpc("enqueue_flow_execution", {"flow_id": person.flow_id}).execute()
    assert refused.value.code == "42501"
    assert contents() == before


@pytest.mark.parametrize("key", [None, "", "sb_publishable_wrong", "Bearer"])
def test_a_missing_or_wrong_key_is_401(
    stack: LocalStack, person: Person, contents: Contents, key: str | None
) -> None:
    before = contents()
    answer = httpx.post(
        f"{stack.info.api_url}/rest/v1/rpc/enqueue_flow_execution",
        json={"flow_id": person.flow_id},
        headers={} if key is None else {"apikey": key},
    )
    assert answer.status_code == 401
    assert "API key" in answer.json()["message"]
    assert contents() == before


def test_the_secret_key_alone_acts_for_nobody(
    service: Client, person: Person, contents: Contents
) -> None:
    before = contents()
    with pytest.raises(APIError) as refused:
        service.rpc("enqueue_flow_execution", {"flow_id": person.flow_id}).execute()
    assert refused.value.code == "PT401"
    assert "a service uses enqueue_flow_executions" in (refused.value.hint or "")
    assert contents() == before


def test_beyond_the_limit_the_answer_says_when_to_come_back(
    stack: LocalStack, person: Person, contents: Contents
) -> None:
    session = person.client.auth.get_session()
    assert session is not None

    def enqueue() -> httpx.Response:
        return httpx.post(
            f"{stack.info.api_url}/rest/v1/rpc/enqueue_flow_execution",
            json={"flow_id": person.flow_id},
            headers={
                "apikey": stack.info.publishable_key,
                "authorization": f"Bearer {session.access_token}",
            },
        )

    assert [enqueue().status_code for _ in range(5)] == [200] * 5
    before = contents()
    answer = enqueue()
    assert answer.status_code == 429
    assert 3500 < int(answer.headers["Retry-After"]) <= 3600
    assert answer.json()["message"] == "your limit of 5 executions per hour is reached"
    assert contents() == before


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("https://example.com/macros/s/x/exec", "host example.com is not on the allow-list"),
        ("https://script.google.com/macros/s/x/exec/more", "is /macros/s/<deployment id>/exec"),
        ("http://script.google.com/macros/s/x/exec", "url must use https"),
        ("https://u:p@script.google.com/macros/s/x/exec", "with no user, query or fragment"),
        ("https://169.254.169.254/macros/s/x/exec", "is not on the allow-list"),
    ],
)
def test_an_instance_that_must_not_be_called_is_refused(
    service: Client, contents: Contents, make_owner: Callable[[], str], url: str, says: str
) -> None:
    owner = make_owner()
    before = contents()
    with pytest.raises(APIError) as refused:
        service.table("apps_script_instances").insert(
            {"name": "bad", "owner": owner, "url": url}
        ).execute()
    assert refused.value.code == "PT400"
    assert (refused.value.message or "").startswith("url")
    assert says in (refused.value.message or "")
    assert refused.value.hint
    assert contents() == before


def test_a_user_adds_no_instance(person: Person, contents: Contents) -> None:
    before = contents()
    with pytest.raises(APIError) as refused:
        person.client.table("apps_script_instances").insert(
            {"name": "mine", "owner": "me", "url": "https://script.google.com/macros/s/x/exec"}
        ).execute()
    assert refused.value.code == "42501"
    assert contents() == before
