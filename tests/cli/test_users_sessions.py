"""`flowstate users sessions`: where a user is signed in, and ending it."""

from __future__ import annotations

import secrets

import pytest
from supabase_auth.errors import AuthError

from flowstate_cli.api import Api
from flowstate_local import LocalStack

from .conftest import FlowState, Person
from .people import NOBODY, new_person, signed_in


@pytest.fixture
def someone(api: Api) -> Person:
    return new_person(api)


def open_ones(flowstate: FlowState, person: Person) -> list[str]:
    rows = flowstate.json("users", "sessions", person.id)
    return [row["id"] for row in rows if row["ended_at"] is None]


def test_sign_ins_are_listed_and_one_of_them_is_ended(
    flowstate: FlowState, stack: LocalStack, someone: Person
) -> None:
    first = signed_in(stack, someone)
    [kept] = open_ones(flowstate, someone)
    second = signed_in(stack, someone)
    [other] = set(open_ones(flowstate, someone)) - {kept}
    found = flowstate.json("users", "sessions", someone.email, "--revoke", other)
    assert found == {"revoked": 1}
    assert open_ones(flowstate, someone) == [kept]
    first.auth.refresh_session()
    with pytest.raises(AuthError):
        second.auth.refresh_session()
    shown = flowstate("users", "sessions", someone.email).stdout
    assert kept in shown
    assert "(revoked)" in shown
    assert flowstate.json("users", "sessions", someone.email, "--revoke", other) == {"revoked": 0}


def test_all_sign_ins_of_a_user_are_ended(
    flowstate: FlowState, stack: LocalStack, someone: Person
) -> None:
    clients = [signed_in(stack, someone) for _ in range(2)]
    result = flowstate("users", "sessions", someone.id, "--revoke-all")
    assert result.exit_code == 0
    assert "2 sign-in(s) ended" in result.stderr
    assert open_ones(flowstate, someone) == []
    for client in clients:
        with pytest.raises(AuthError):
            client.auth.refresh_session()


def test_a_sign_in_of_somebody_else_is_left_alone(
    flowstate: FlowState, stack: LocalStack, api: Api, someone: Person
) -> None:
    other = new_person(api)
    signed_in(stack, other)
    [theirs] = open_ones(flowstate, other)
    result = flowstate("users", "sessions", someone.id, "--revoke", theirs)
    assert result.exit_code == 1
    assert f"--revoke: The user has no sign-in {theirs}" in result.stderr
    assert open_ones(flowstate, other) == [theirs]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((NOBODY,), 1, f"user: There is no user {NOBODY}"),
        ((f"{secrets.token_hex(4)}@example.com",), 1, "user: No user has this e-mail address"),
        ((NOBODY, "--revoke", "7"), 2, "--revoke: '7' is no UUID"),
        ((NOBODY, "--revoke", NOBODY, "--revoke-all"), 2, "--revoke: All of them include"),
    ],
)
def test_bad_input_is_named(
    flowstate: FlowState, arguments: tuple[str, ...], code: int, message: str
) -> None:
    result = flowstate("users", "sessions", *arguments)
    assert result.exit_code == code
    assert message in result.stderr
