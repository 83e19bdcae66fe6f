"""`flowstate users create`: people who can sign in at once, and the first owner."""

from __future__ import annotations

import secrets

import pytest

from flowstate_cli.api import Api
from flowstate_local import LocalStack

from . import people
from .conftest import FlowState, Person


def address() -> str:
    return f"{secrets.token_hex(6)}@example.com"


def exists(api: Api, email: str) -> bool:
    return bool(api.rpc("list_users", {"search": email}))


def test_a_password_is_made_and_shown_once(
    flowstate: FlowState, stack: LocalStack, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    email = address()
    made = flowstate.json("users", "create", email)
    assert (made["email"], made["tier"], made["role"]) == (email, "free", "user")
    monkeypatch.setattr(people, "PASSWORD", made["password"])
    people.signed_in(stack, Person(made["user_id"], email))
    assert made["password"] not in flowstate("users", "show", email).output
    shown = flowstate("users", "create", address())
    assert "password" in shown.stdout
    assert "shown this once" in shown.stderr


def test_a_password_from_stdin_is_not_shown(flowstate: FlowState, stack: LocalStack) -> None:
    email = address()
    made = flowstate.json(
        "users", "create", email, "--password-stdin", stdin=f"{people.PASSWORD}\n"
    )
    assert "password" not in made
    people.signed_in(stack, Person(made["user_id"], email))


def test_a_password_is_typed_twice_on_a_terminal(flowstate: FlowState, stack: LocalStack) -> None:
    email = address()
    command = ("users", "create", email, "--password-stdin")
    twice = [people.PASSWORD] * 2
    code, said = people.on_a_terminal(flowstate, *command, typed=twice, hidden=True)
    assert code == 0
    assert people.PASSWORD not in said
    people.signed_in(stack, Person("", email))


def test_tier_and_role_are_given_to_the_new_user(flowstate: FlowState, api: Api) -> None:
    made = flowstate.json("users", "create", address(), "--tier", "pro", "--role", "owner")
    row = people.profile(api, made["user_id"])
    assert (row["tier"], row["role"]) == ("pro", "owner")


def test_an_address_that_is_taken_is_refused(
    flowstate: FlowState, api: Api, person: Person
) -> None:
    before = people.profile(api, person.id)
    result = flowstate("users", "create", person.email, "--tier", "pro", "--role", "admin")
    assert result.exit_code == 1
    assert "already been registered" in result.stderr
    assert people.profile(api, person.id) == before


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "message"),
    [
        (("--tier", "gold"), None, 2, "--tier: There is no tier 'gold'"),
        (("--role", "king"), None, 2, "--role"),
        (("--password-stdin",), "", 2, "--password-stdin: stdin holds no password"),
        (("--password-stdin",), "x\n", 1, "at least 6 characters"),
    ],
)
def test_what_is_refused_makes_nobody(
    flowstate: FlowState,
    api: Api,
    arguments: tuple[str, ...],
    stdin: str | None,
    code: int,
    message: str,
) -> None:
    email = address()
    result = flowstate("users", "create", email, *arguments, stdin=stdin)
    assert result.exit_code == code, result.output
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert not exists(api, email)


@pytest.mark.parametrize("email", ["ana", "@example.com", "ana@", "a@b@c", "a b@example.com", ""])
def test_what_is_no_address_is_refused(flowstate: FlowState, email: str) -> None:
    result = flowstate("users", "create", email)
    assert result.exit_code == 2
    assert "email: " in result.stderr
