"""The project's local stack, from `flowstate_local`, which is an optional part of the package."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from flowstate_cli.errors import NotReachableError

if TYPE_CHECKING:
    from flowstate_local import LocalStack

FOLDER = Path(".flowstate") / "stack"


def local_stack(project: Path) -> LocalStack:
    """The stack in `.flowstate/stack`. Raises NotReachableError where the extra is missing."""
    try:
        from flowstate_local import LocalStack
    except ImportError as error:
        raise NotReachableError(
            f"The local stack is not installed ({error.name} is missing).",
            hint="Install it with: pip install 'flowstate[local]'",
        ) from error
    return LocalStack.create(project / FOLDER)


def local_environment(project: Path | None) -> dict[str, str]:
    """The FLOWSTATE_ lines of the project's stack; empty when there is none."""
    if project is None or not (project / FOLDER / "stack.json").exists():
        return {}
    return local_stack(project).info.environment()
