"""The demo from beginning to end: a stack, a pool, a worker, users, and the verdict."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from postgrest.exceptions import APIError

from flowstate_cli.api import Api
from flowstate_cli.demo import faults, report
from flowstate_cli.demo.crowd import run_crowd
from flowstate_cli.demo.plan import expected_runs, make_people
from flowstate_cli.demo.progress import Progress
from flowstate_cli.demo.simulator import Simulator
from flowstate_cli.demo.size import Size
from flowstate_cli.demo.verdict import Verdict, judge, read_history
from flowstate_cli.demo.worker import running_worker
from flowstate_cli.errors import CliError, NotReachableError, RefusedError
from flowstate_cli.pool import register_pool
from flowstate_cli.project import find_project
from flowstate_cli.settings import Settings
from flowstate_cli.stack import explained, simulated_pool

if TYPE_CHECKING:
    from flowstate_local import LocalStack

_COMPONENTS = ("postgres", "postgrest", "simulator", "gateway")
_LOGS = Path(".flowstate") / "demo-logs"


def run(*, quiet: bool = False) -> dict[str, Any]:
    """Run the demo; its figures, which are also written to .flowstate/demo.json.

    Raises:
        BadInputError: DEMO_FLOWS or DEMO_USERS makes no sense.
        NotReachableError: a part of the local stack is missing.
        RefusedError: something was lost or done twice, or a part failed.
    """
    size = Size.read(os.environ)
    project = find_project()
    shutil.rmtree(project / _LOGS, ignore_errors=True)
    report.remove(project)
    progress = Progress(quiet=quiet)
    with _stack(project, progress) as stack, _explained():
        result, steps = _perform(stack, project, size, progress)
        figures = result.as_json()
        path = report.write(project, figures)
        if not quiet:
            report.show(figures, result.verdict, steps)
        if result.problems:
            raise RefusedError(" ".join(result.problems), hint=f"The figures are in {path}.")
    progress.say(report.summary(figures))
    progress.say(f"The figures are in {path}.")
    return figures


def _perform(
    stack: LocalStack, project: Path, size: Size, progress: Progress
) -> tuple[report.Result, dict[str, Any]]:
    """What happened, and the results of the steps of the one execution that is shown."""
    progress.say("Applying the migrations with the Supabase CLI.")
    stack.push_migrations(project)
    info = stack.info
    owners, instances = simulated_pool(stack)
    with (
        Api(Settings(info.environment(), "the demo's stack")) as api,
        Simulator(info.simulator_url) as simulator,
    ):
        register_pool(api, owners, instances)
        tiers = api.rows(api.table("subscription_tiers").select("tier, hour_limit"))
        hour_limits = {row["tier"]: row["hour_limit"] for row in tiers}
        people = make_people(size, hour_limits)
        runs = expected_runs(people, hour_limits)
        injections = faults.plan(runs, [instance["name"] for instance in instances])
        if not simulator.prepare(runs, injections):
            progress.say("So many runs exceed the simulated accounts' daily quotas: lifted.")
        with running_worker(info.environment(), stack.log("worker")) as worker:
            admission = asyncio.run(run_crowd(info, people, worker, progress))
            exit_code = worker.stop()
        progress.say("The queue's history is held against the ledger of effects.")
        ledger = simulator.ledger()
        verdict = judge(admission.accepted, read_history(api), ledger)
        steps = _results_of_steps(api, verdict)
    result = report.Result(
        people=people,
        admission=admission,
        verdict=verdict,
        ledger=ledger,
        instances=[(instance["name"], instance["owner"]) for instance in instances],
        worker_exit_code=exit_code,
        duration_seconds=progress.seconds,
    )
    return result, steps


def _results_of_steps(api: Api, verdict: Verdict) -> dict[str, Any]:
    if not verdict.story:
        return {}
    query = api.table("execution_logs").select("result").eq("is_final", True)
    [row] = api.rows(query.eq("execution_id", verdict.story[0]["execution_id"]))
    return row["result"] or {}


@contextlib.contextmanager
def _stack(project: Path, progress: Progress) -> Iterator[LocalStack]:
    """A stack that is gone afterwards; where the block fails, its logs stay."""
    try:
        from flowstate_local import LocalStack
    except ImportError as error:
        raise NotReachableError(
            f"The local stack is not installed ({error.name} is missing).",
            hint="Install it with: pip install 'flowstate[local]'",
        ) from error
    progress.say("Starting a stack: Postgres, the API, simulated Apps Script.")
    with explained(), LocalStack.throw_away(components=_COMPONENTS) as stack:
        try:
            yield stack
        except Exception as error:
            shutil.copytree(stack.directory / "logs", project / _LOGS, dirs_exist_ok=True)
            if isinstance(error, CliError):
                error.hint = f"{error.hint}\n  The logs are in {project / _LOGS}.".strip()
            raise


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Makes a CliError of what the stack, the API, the simulator or the crowd raise."""
    try:
        with explained():
            yield
    except (ExceptionGroup, httpx.HTTPError, APIError) as error:
        cause: Exception = error
        while isinstance(cause, ExceptionGroup):
            cause = cause.exceptions[0]
        if isinstance(cause, CliError):
            raise cause from error
        if isinstance(cause, (httpx.HTTPError, APIError)):
            name = type(cause).__name__
            raise RefusedError(f"A part of the stack failed ({name}: {cause}).") from error
        raise
