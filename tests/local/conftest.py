"""Stacks of their own for tests that stop, break or destroy them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flowstate_local import LocalStack

MakeStack = Callable[..., LocalStack]


@pytest.fixture
def make_stack(tmp_path: Path) -> Iterator[MakeStack]:
    """`make_stack()` gives a stack that is not started; it is destroyed after the test."""
    made: list[LocalStack] = []

    def make(directory: Path | None = None, **options: object) -> LocalStack:
        options = {"components": ("postgres",), "durable": False, **options}
        stack = LocalStack.create(directory or tmp_path / f"stack-{len(made)}", **options)  # type: ignore[arg-type]
        made.append(stack)
        return stack

    yield make
    for stack in made:
        stack.destroy()
