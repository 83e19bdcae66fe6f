"""What a flow and an instance address may say, and what is refused by name."""

from __future__ import annotations

import uuid
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.sql.driver import SEARCH_FLOW, QueueDriver, Row


def step(type_: str = "gmail.search", name: str = "find", **args: Any) -> Row:
    return {"name": name, "type": type_, "args": args}


def problems(queue: QueueDriver, definition: Any) -> set[tuple[str, str]]:
    rows = queue.rows("select * from public.validate_flow_definition(%s)", Jsonb(definition))
    return {(row["path"], row["code"]) for row in rows}


@pytest.mark.parametrize(
    "steps",
    [
        [step(query="is:unread")],
        [step(query="x", max=100)],
        [step(query="{{input.q}}", max="{{input.max}}")],
        [step(query="x"), step("gmail.label", "tag", threads="{{find.threads}}", label="Done")],
        [
            step(query="x"),
            step("transform", "rows", each="{{find.threads}}", template=["{{item.id}}"]),
        ],
        [step("transform", "t", template={"a": 1, "b": ["{{ input.x }} and text"]})],
        [step("gmail.send", "s", to="a@x.test", subject="s", body="b", reply_to="r@x.test")],
        [step("calendar.create_event", "e", title="t", start="s", end="e", guests=["a@x.test"])],
    ],
)
def test_a_right_flow_has_no_problems(queue: QueueDriver, steps: list[Row]) -> None:
    assert problems(queue, {"steps": steps}) == set()


@pytest.mark.parametrize(
    ("definition", "problem"),
    [
        ([], ("definition", "wrong_type")),
        ({}, ("steps", "wrong_type")),
        ({"steps": []}, ("steps", "wrong_type")),
        ({"steps": [step(query="x")] * 21}, ("steps", "wrong_type")),
        ({"steps": [step(query="x")], "extra": 1}, ("extra", "unknown_field")),
        ({"steps": ["text"]}, ("steps[0]", "wrong_type")),
        ({"steps": [{**step(query="x"), "if": 1}]}, ("steps[0].if", "unknown_field")),
        ({"steps": [step(name="Find", query="x")]}, ("steps[0].name", "invalid_name")),
        ({"steps": [step(name="input", query="x")]}, ("steps[0].name", "invalid_name")),
        ({"steps": [step(query="x"), step(query="y")]}, ("steps[1].name", "duplicate_name")),
        ({"steps": [step("gmail.fly")]}, ("steps[0].type", "unknown_step")),
        ({"steps": [{"name": "a"}]}, ("steps[0].type", "unknown_step")),
        ({"steps": [step()]}, ("steps[0].args.query", "missing_argument")),
        ({"steps": [step(query=5)]}, ("steps[0].args.query", "wrong_type")),
        ({"steps": [step(query=None)]}, ("steps[0].args.query", "wrong_type")),
        ({"steps": [step(query="x", max=0)]}, ("steps[0].args.max", "wrong_type")),
        ({"steps": [step(query="x", max=1.5)]}, ("steps[0].args.max", "wrong_type")),
        ({"steps": [step(query="x", maximum=5)]}, ("steps[0].args.maximum", "unknown_argument")),
        ({"steps": [step(query="{{later.x}}")]}, ("steps[0].args", "unknown_reference")),
        ({"steps": [step(query="{{find.x}}")]}, ("steps[0].args", "unknown_reference")),
        ({"steps": [step(query="{{item.x}}")]}, ("steps[0].args", "unknown_reference")),
        ({"steps": [step(query="x" * 262_144)]}, ("definition", "too_large")),
    ],
)
def test_each_problem_is_named_by_its_path(
    queue: QueueDriver, definition: Any, problem: tuple[str, str]
) -> None:
    assert problem in problems(queue, definition)


def test_an_invalid_flow_is_not_stored(queue: QueueDriver) -> None:
    user = queue.user()
    with pytest.raises(psycopg.Error, match=r"steps\[0\]\.type") as caught:
        queue.flow(user.id, {"steps": [step("gmail.fly")]})
    assert caught.value.sqlstate == "PT400"
    assert queue.value("select count(*) from public.flows where user_id = %s", user.id) == 1


def test_the_version_goes_up_with_the_definition_and_every_one_is_kept(queue: QueueDriver) -> None:
    user = queue.user()
    queue.do("update public.flows set name = 'renamed' where id = %s", user.flow_id)
    queue.do(
        "update public.flows set definition = %s where id = %s",
        Jsonb({"steps": [step(query="other")]}),
        user.flow_id,
    )
    versions = queue.rows(
        "select version, definition from public.flow_versions where flow_id = %s order by 1",
        user.flow_id,
    )
    assert [v["version"] for v in versions] == [1, 2]
    assert versions[0]["definition"] == dict(SEARCH_FLOW)


def test_a_flow_cannot_change_hands(queue: QueueDriver) -> None:
    user, other = queue.user(), queue.user()
    with pytest.raises(psycopg.Error, match="user_id"):
        queue.do("update public.flows set user_id = %s where id = %s", other.id, user.flow_id)


def test_a_flow_with_live_executions_is_not_deleted(queue: QueueDriver) -> None:
    user = queue.user()
    queue.enqueue(user)
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        queue.do("delete from public.flows where id = %s", user.flow_id)


def test_a_deleted_user_takes_their_queue_along(queue: QueueDriver) -> None:
    user = queue.user()
    queue.enqueue(user)
    queue.do("delete from auth.users where id = %s", user.id)
    assert queue.value("select count(*) from public.flow_execution_queue") == 0


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/macros/s/abc/exec",
        "https://script.google.com.evil.example/macros/s/abc/exec",
        "https://user:pass@script.google.com/macros/s/abc/exec",
        "https://script.google.com@evil.example/macros/s/abc/exec",
        "https://script.google.com:8443/macros/s/abc/exec",
        "https://script.google.com/macros/s/abc/exec?x=1",
        "https://script.google.com/macros/s/abc/exec#x",
        "https://script.google.com/macros/s/abc/exec/more",
        "https://script.google.com/macros/s/abc/dev",
        "http://script.google.com/macros/s/abc/exec",
        "ftp://script.google.com/macros/s/abc/exec",
        "https://169.254.169.254/macros/s/abc/exec",
        "http://127.0.0.1:9/macros/s/abc/exec",
        "https://[::ffff:127.0.0.1]/macros/s/abc/exec",
        "script.google.com/macros/s/abc/exec",
        "",
    ],
)
def test_an_address_off_the_allow_list_or_of_another_form_is_refused(
    queue: QueueDriver, url: str
) -> None:
    queue.instances(1)
    with pytest.raises(psycopg.Error, match=r"^url") as caught:
        queue.do(
            "insert into public.apps_script_instances (name, owner, url)"
            " values ('x', 'owner-0', %s)",
            url,
        )
    assert caught.value.sqlstate == "PT400"


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://script.google.com/macros/s/AKfycb-x_1/exec", None),
        ("https://script.google.com:443/macros/s/AKfycb-x_1/exec", None),
        ("https://script.google.com/a/macros/example.com/s/AKfycb-x_1/exec", None),
        ("http://127.0.0.1:9123/macros/s/local/exec", "127.0.0.1:9123"),
    ],
)
def test_an_allowed_address_is_taken(queue: QueueDriver, url: str, allowed: str | None) -> None:
    queue.instances(1)
    if allowed:
        queue.do(
            "update public.load_balancer_config set allowed_hosts = allowed_hosts || %s::text",
            allowed,
        )
    queue.do(
        "insert into public.apps_script_instances (name, owner, url) values (%s, 'owner-0', %s)",
        f"x-{uuid.uuid4()}"[:30],
        url,
    )


@pytest.mark.parametrize("slots", [0, 29])
def test_an_owner_has_1_to_28_slots(queue: QueueDriver, slots: int) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        queue.do(
            "insert into public.apps_script_owners (owner, max_in_flight) values ('o', %s)", slots
        )
