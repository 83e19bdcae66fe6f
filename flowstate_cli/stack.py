"""The project's local stack, from `flowstate_local`, which is an optional part of the package."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowstate_cli.errors import BadInputError, NotReachableError, RefusedError

if TYPE_CHECKING:
    from flowstate_local import LocalStack

FOLDER = Path(".flowstate") / "stack"


def local_stack(project: Path, *, api_port: int = 0, db_port: int = 0) -> LocalStack:
    """The stack in `.flowstate/stack`. Raises NotReachableError where the extra is missing."""
    try:
        from flowstate_local import LocalStack
    except ImportError as error:
        raise NotReachableError(
            f"The local stack is not installed ({error.name} is missing).",
            hint="Install it with: pip install 'flowstate[local]'",
        ) from error
    return LocalStack.create(project / FOLDER, api_port=api_port, db_port=db_port)


def has_stack(project: Path) -> bool:
    """Whether one was ever started here and not deleted."""
    return (project / FOLDER / "stack.json").exists()


def local_environment(project: Path | None) -> dict[str, str]:
    """The FLOWSTATE_ lines of the project's stack; empty when there is none."""
    if project is None or not has_stack(project):
        return {}
    with explained():
        return local_stack(project).info.environment()


def wait_for_schema(project: Path) -> None:
    """Returns when the local API serves what the migrations just made."""
    with explained():
        local_stack(project).reload_schema()


def simulated_pool(stack: LocalStack) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Owners and instances that the stack's simulator was started with, as rows of the tables."""
    config = json.loads((stack.directory / "simulator.json").read_text(encoding="utf-8"))
    base = stack.info.simulator_url
    owners = [
        {"owner": owner["owner"], "account_type": owner["account_type"]}
        for owner in config["owners"]
    ]
    instances = [
        {
            "name": instance["name"],
            "owner": instance["owner"],
            "url": f"{base}/macros/s/{instance['deployment_id']}/exec",
            "key_id": next(iter(instance["keys"])),
        }
        for instance in config["instances"]
    ]
    return owners, instances


@contextmanager
def explained() -> Iterator[None]:
    """Turns the local stack's errors, whose messages say what to do, into CliErrors."""
    from flowstate_local import (
        LocalStackError,
        PortTakenError,
        StackNotStartedError,
        UnsupportedPlatformError,
    )

    try:
        yield
    except (StackNotStartedError, UnsupportedPlatformError) as error:
        raise NotReachableError(f"{error}.") from error
    except PortTakenError as error:
        raise BadInputError(f"{error}.") from error
    except LocalStackError as error:
        raise RefusedError(str(error)) from error
