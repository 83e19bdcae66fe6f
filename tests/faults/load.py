"""A caller that goes on enqueuing through the API, whatever happens to the API meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import httpx

from flowstate_local import StackInfo
from tests.faults.waiting import until
from tests.sql.driver import User

_BATCH = 4
_PAUSE_SECONDS = 0.03
# What PostgREST answers with status 400: the connection broke in mid-statement; a standby.
_NOT_NOW = ("", "0A000")


class Load:
    """Runs in a thread for the block. What got no answer is asked again under the same key."""

    def __init__(self, info: StackInfo, users: Sequence[User], accepted: list[str]) -> None:
        self._info = info
        self._users = users
        self._accepted = accepted
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._failure: BaseException | None = None
        self._last_answer = "none yet"

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        if self._failure:
            raise self._failure

    def wait_accepted(self, more: int) -> None:
        """Waits until that many further executions have been accepted."""
        wanted = len(self._accepted) + more

        def enough() -> bool:
            assert self._thread.is_alive(), f"the load has ended: {self._failure!r}"
            return len(self._accepted) >= wanted

        until(enough, f"{more} more are accepted", told=lambda: f"last: {self._last_answer}")

    def _run(self) -> None:
        try:
            # The last batch is asked for until it is answered: then every key has its execution.
            with httpx.Client(base_url=self._info.api_url, timeout=5) as http:
                number = 0
                while not self._stopping.wait(_PAUSE_SECONDS):
                    self._accepted += self._enqueue(http, number)
                    number += 1
        except BaseException as error:  # raised again where the test sees it
            self._failure = error

    def _enqueue(self, http: httpx.Client, number: int) -> list[str]:
        flow_id = self._users[number % len(self._users)].flow_id
        items = [
            {"flow_id": flow_id, "input": {"text": key}, "idempotency_key": key}
            for key in (f"{number}/{n}" for n in range(_BATCH))
        ]
        while True:
            answers = self._ask(http, items)
            if answers is not None:
                assert [answer["refused"] for answer in answers] == [None] * _BATCH
                return [answer["execution_id"] for answer in answers]
            # Also when the test is over: an accepted execution must not stay unknown.
            threading.Event().wait(_PAUSE_SECONDS)

    def _ask(self, http: httpx.Client, items: list[dict[str, Any]]) -> list[dict[str, Any]] | None:
        try:
            response = http.post(
                "/rest/v1/rpc/enqueue_flow_executions",
                json={"items": items},
                headers={"apikey": self._info.secret_key},
            )
        except httpx.HTTPError as error:
            self._last_answer = repr(error)
            return None
        self._last_answer = f"{response.status_code} {response.text[:200]}"
        if response.status_code >= 500:
            return None
        if response.status_code == 400 and response.json()["code"] in _NOT_NOW:
            return None
        assert response.status_code == 200, response.text
        rows: list[dict[str, Any]] = response.json()
        return rows
