"""Ports: those asked for are used or refused, remembered ones give way."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from flowstate_local import PortTakenError, ports
from flowstate_local.errors import LocalStackError
from tests.local.conftest import MakeStack


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port of 127.0.0.1 that another listener has."""
    port = ports.choose("test", taken=frozenset())
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen()
        yield port


def test_a_taken_port_that_was_asked_for_is_refused_by_name(taken_port: int) -> None:
    with pytest.raises(PortTakenError) as refused:
        ports.choose("api_port", asked=taken_port, taken=frozenset())
    assert str(refused.value) == (
        f"port {taken_port} (api_port) is taken by another process; "
        "choose another with --api-port or stop it"
    )


def test_a_free_port_that_was_asked_for_is_used() -> None:
    free = ports.choose("api_port", taken=frozenset())
    assert ports.choose("api_port", asked=free, taken=frozenset()) == free


def test_a_remembered_port_is_used_again_while_it_is_free() -> None:
    free = ports.choose("api_port", taken=frozenset())
    assert ports.choose("api_port", remembered=free, taken=frozenset()) == free


def test_a_remembered_port_that_is_taken_gives_way_to_another(taken_port: int) -> None:
    assert ports.choose("api_port", remembered=taken_port, taken=frozenset()) != taken_port


def test_a_port_that_is_already_given_away_is_not_chosen() -> None:
    given = ports.choose("db_port", taken=frozenset())
    assert ports.choose("api_port", remembered=given, taken=frozenset({given})) != given


@pytest.mark.parametrize("number", [-1, 65_536])
def test_a_number_that_is_no_port_is_refused(number: int) -> None:
    with pytest.raises(LocalStackError, match=f"api_port is {number}"):
        ports.choose("api_port", asked=number, taken=frozenset())


def test_a_stack_refuses_to_start_on_a_taken_port(make_stack: MakeStack, taken_port: int) -> None:
    stack = make_stack(db_port=taken_port)
    with pytest.raises(PortTakenError, match=r"\(db_port\) is taken"):
        stack.start()


def test_a_stopped_stack_moves_when_its_port_was_taken_meanwhile(make_stack: MakeStack) -> None:
    stack = make_stack()
    stack.start()
    before = stack.info.ports["db_port"]
    stack.stop()
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", before))
        listener.listen()
        stack.start()
    assert stack.info.ports["db_port"] != before


def test_a_stopped_stack_keeps_its_port_when_it_can(make_stack: MakeStack) -> None:
    stack = make_stack()
    stack.start()
    before = stack.info.ports
    stack.stop()
    stack.start()
    assert stack.info.ports == before
