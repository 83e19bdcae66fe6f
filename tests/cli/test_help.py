"""Every command teaches: what it reads and writes, its exit codes, an example, and `--json`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import typer

from flowstate_cli.main import app


def _commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


COMMANDS = dict(_commands(typer.main.get_command(app)))


def test_the_commands_are_those_that_are_documented() -> None:
    assert sorted(COMMANDS) == [
        "audit log", "audit verify", "db check", "db compile", "db push", "demo", "doctor", "down",
        "enqueue", "flows create", "flows list", "flows show", "flows validate", "instances add",
        "instances list", "logs", "policies check", "queue cancel", "queue list", "queue show",
        "queue status", "reset", "status", "tiers list", "tiers remove", "tiers set",
        "tokens connect", "tokens disconnect", "tokens new-key", "tokens rotate-keys",
        "tokens status", "up", "usage", "users create", "users delete", "users export",
        "users list", "users override", "users resume", "users sessions", "users set-role",
        "users set-tier", "users show", "users suspend", "worker run",
    ]  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_an_example_and_its_exit_codes(name: str) -> None:
    text = " ".join(COMMANDS[name].help.split())
    assert f"flowstate {name}" in text
    assert "Exit codes: 0" in text


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_can_answer_in_json(name: str) -> None:
    options = {option for parameter in COMMANDS[name].params for option in parameter.opts}
    assert "--json" in options


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_and_argument_is_explained(name: str) -> None:
    for parameter in COMMANDS[name].params:
        assert parameter.help, f"{name}: {parameter.opts}"


@pytest.mark.parametrize(
    "name",
    [
        "down",
        "queue cancel",
        "reset",
        "tokens disconnect",
        "tiers remove",
        "tiers set",
        "users delete",
        "users suspend",
    ],
)
def test_what_destroys_can_be_confirmed_beforehand(name: str) -> None:
    options = {option for parameter in COMMANDS[name].params for option in parameter.opts}
    assert "--yes" in options
