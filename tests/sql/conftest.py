"""A queue with nothing in it, for each test of the SQL functions."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sql.driver import QueueDriver


@pytest.fixture
def queue(database_url: str) -> Iterator[QueueDriver]:
    driver = QueueDriver(database_url)
    driver.empty()
    yield driver
    driver.close()
