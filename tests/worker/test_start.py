"""A worker that cannot work says why, once, and ends with the documented exit code."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flowstate_local import LocalStack
from tests.worker.waiting import until

GOOD = {
    "FLOWSTATE_SUPABASE_URL": "http://127.0.0.1:9",
    "FLOWSTATE_SERVICE_KEY": "sb_secret_CANARY",
    "FLOWSTATE_INSTANCE_KEYS": '{"k1": "CANARY-CANARY-CANARY"}',
}


def start(log: Path, **settings: str) -> subprocess.Popen[bytes]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("FLOWSTATE_")}
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "flowstate_worker"],
            env={**inherited, **settings},
            stdout=output,
            stderr=output,
        )


def end(log: Path, **settings: str) -> tuple[int, str]:
    code = start(log, **settings).wait(60)
    return code, log.read_text()


def test_a_missing_setting_is_exit_code_2(tmp_path: Path) -> None:
    settings = {name: value for name, value in GOOD.items() if "KEYS" not in name}
    code, said = end(tmp_path / "log", **settings)
    assert code == 2
    assert "FLOWSTATE_INSTANCE_KEYS: Field required" in said


def test_an_api_that_does_not_answer_is_exit_code_5(tmp_path: Path) -> None:
    code, said = end(tmp_path / "log", **GOOD, FLOWSTATE_START_TIMEOUT_SECONDS="0.5")
    assert code == 5
    assert "no answer from the API" in said
    assert "CANARY" not in said


def test_a_refused_key_is_exit_code_3(stack: LocalStack, tmp_path: Path) -> None:
    settings = {**stack.info.environment(), "FLOWSTATE_SERVICE_KEY": "sb_secret_CANARY"}
    code, said = end(tmp_path / "log", **settings)
    assert code == 3
    assert "FLOWSTATE_SERVICE_KEY must be" in said
    assert "CANARY" not in said


def test_a_key_of_another_role_is_exit_code_3(stack: LocalStack, tmp_path: Path) -> None:
    settings = {**stack.info.environment(), "FLOWSTATE_SERVICE_KEY": stack.info.anon_key}
    code, _ = end(tmp_path / "log", **settings)
    assert code == 3


def test_missing_migrations_are_exit_code_4(tmp_path: Path) -> None:
    with LocalStack.throw_away(components=("postgres", "postgrest", "gateway")) as bare:
        code, said = end(tmp_path / "log", **bare.info.environment())
    assert code == 4
    assert "flowstate db push" in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_the_process_and_more_of_them_change_nothing(
    stack: LocalStack, tmp_path: Path, number: signal.Signals
) -> None:
    log = tmp_path / "log"
    process = start(log, **stack.info.environment())
    try:
        await until(lambda: '"ready"' in log.read_text())
        for _ in range(5):
            process.send_signal(number)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
    assert log.read_text().count('"draining"') == 1
    assert stack.info.secret_key not in log.read_text()
