"""One test's queue, instances, users and workers, on the session's stack."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg

from flowstate_local import LocalStack
from tests.faults import oracle
from tests.faults.load import Load
from tests.faults.simulator import Simulator
from tests.faults.waiting import until
from tests.faults.worker_process import SHORT_LEASES, WorkerProcess
from tests.sql.driver import QueueDriver, Row, User

# Two effects that nobody wants twice, the first of which cannot be taken back.
EFFECTS = 2
SEND: Row = {
    "steps": [
        {
            "name": "send",
            "type": "gmail.send",
            "args": {"to": "one@example.com", "subject": "Once", "body": "{{input.text}}"},
        },
        {
            "name": "note",
            "type": "sheets.append_rows",
            "args": {"spreadsheet": "sample-spreadsheet", "rows": [["{{send.to}}"]]},
        },
    ]
}
_FINAL = ("succeeded", "failed", "dead", "cancelled")


class World:
    """The stack as one test sees it: an empty queue, its own users, workers that end with it."""

    def __init__(self, stack: LocalStack, directory: Path) -> None:
        self.stack = stack
        self.directory = directory
        self.queue = QueueDriver(stack.info.db_url)
        self.simulator = Simulator(stack.info.simulator_url)
        self.accepted: list[str] = []
        self.workers: list[WorkerProcess] = []

    # -- the far side ------------------------------------------------------------------------

    def register(self, *names: str, **columns: Any) -> None:
        """Tell the queue of instances that the simulator has; all of its own when none is named."""
        for instance in self.simulator.instances():
            name, owner = instance["name"], instance["owner"]
            if name in names or (not names and name.startswith("local-")):
                row = {
                    "name": name,
                    "owner": owner,
                    "url": f"{self.simulator.url}/macros/s/{instance['deployment_id']}/exec",
                    **columns,
                }
                self.queue.do(
                    "insert into public.apps_script_owners (owner) values (%s)"
                    " on conflict do nothing",
                    owner,
                )
                self.queue.do(
                    f"insert into public.apps_script_instances ({', '.join(row)})"
                    f" values ({', '.join(['%s'] * len(row))})",
                    *row.values(),
                )

    # -- executions --------------------------------------------------------------------------

    def user(self, **flow: Any) -> User:
        """A user of the largest tier whose flow sends a mail and appends a row."""
        return self.queue.user("enterprise", **{"definition": SEND, **flow})

    def enqueue(self, user: User, times: int = 1, **arguments: Any) -> list[str]:
        """Executions of the user's flow, by the user; the ids."""
        made = [
            str(self.queue.enqueue(user, input={"text": f"{n}"}, **arguments)["execution_id"])
            for n in range(times)
        ]
        self.accepted += made
        return made

    def state(self, execution_id: str) -> str:
        """The execution's state, of a live one or of one that has ended."""
        row = self.queue.live(execution_id)
        if row:
            return str(row["state"])
        final = [log for log in self.queue.logs(execution_id) if log["is_final"]]
        return str(final[0]["outcome"]) if final else "lost"

    def wait_ended(self, execution_id: str) -> list[Row]:
        """Waits for the execution's end; the history of its attempts."""
        until(
            lambda: self.state(execution_id) in _FINAL,
            f"{execution_id} ends",
            told=lambda: f"{self.queue.live(execution_id)}\n{self._told()}",
        )
        return self.queue.logs(execution_id)

    def wait_effects(self, count: int) -> None:
        """Waits until so many effects stand in the simulator's ledger."""
        until(
            lambda: len(self.simulator.effects()) >= count,
            f"{count} effects are done",
            told=self._told,
        )

    def wait_more_effects(self, count: int) -> None:
        self.wait_effects(len(self.simulator.effects()) + count)

    def load(self, users: int, **flow: Any) -> Load:
        """Goes on enqueuing for so many users, for a block."""
        made = [self.user(**flow) for _ in range(users)]
        return Load(self.stack.info, made, self.accepted)

    # -- workers -----------------------------------------------------------------------------

    def worker(self, *, command: tuple[str, ...] = (), **settings: str) -> WorkerProcess:
        """Start a worker; `lease_seconds="5"` is FLOWSTATE_LEASE_SECONDS."""
        given = {f"FLOWSTATE_{name.upper()}": value for name, value in settings.items()}
        worker = WorkerProcess(
            {**self.stack.info.environment(), **SHORT_LEASES, **given},
            self.directory / f"worker-{len(self.workers) + 1}.log",
            **({"command": command} if command else {}),
        )
        self.workers.append(worker)
        return worker

    # -- parts of the backend ----------------------------------------------------------------

    def start(self, part: str) -> None:
        """Start a part again after a crash; connections of before are gone."""
        self.stack.start(part)
        self.stack.start()  # should its port have been taken meanwhile, others have to follow it
        if part == "postgres":
            self.reconnect()

    def reconnect(self) -> None:
        self.queue.close()
        self.queue = QueueDriver(self.stack.info.db_url)

    def as_superuser(self, *statements: str) -> None:
        with psycopg.connect(self.stack.info.admin_db_url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    # -- the end -----------------------------------------------------------------------------

    def check(self, *, effects: int | None = EFFECTS, seconds: float = 60.0) -> None:
        """Wait until the queue is empty, then ask the oracle. A worker has to run.

        `effects`: that each successful execution has; None where the test says so by itself.
        """
        until(
            lambda: self.queue.value("select count(*) from public.flow_execution_queue") == 0,
            "the queue is empty",
            seconds=seconds,
            told=lambda: (
                f"{self.queue.rows('select * from public.flow_execution_queue limit 5')}"
                f"\n{self._told()}"
            ),
        )
        oracle.check(self.queue, self.simulator, self.accepted, effects=effects)

    def close(self) -> None:
        for worker in self.workers:
            worker.clean_up()
        self.queue.close()
        self.simulator.close()

    def _told(self) -> str:
        return "\n\n".join(worker.told() for worker in self.workers)


@contextmanager
def fresh_world(stack: LocalStack, directory: Path) -> Iterator[World]:
    """A world in which nothing has happened yet, on a stack that runs with all its parts."""
    stack.start()
    world = World(stack, directory)
    try:
        world.simulator.reset()
        world.queue.empty()
        world.queue.do(
            "update public.load_balancer_config set retry_base_seconds = 0, allowed_hosts = %s",
            [urlsplit(world.simulator.url).netloc],
        )
        yield world
    finally:
        world.close()
