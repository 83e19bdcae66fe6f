"""`flowstate users export`: all of it, for its owner's eyes, and never half of it."""

from __future__ import annotations

import json
import stat
import zipfile
from pathlib import Path
from typing import Any

import pytest

from flowstate_cli.api import Api
from flowstate_cli.errors import NotReachableError

from .conftest import FlowState, Person
from .people import NOBODY


def read(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Rows by data set."""
    with zipfile.ZipFile(path) as archive:
        return {
            name.removesuffix(".jsonl"): [
                json.loads(line) for line in archive.read(name).splitlines()
            ]
            for name in archive.namelist()
            if name.endswith(".jsonl")
        }


def test_the_file_holds_all_rows_page_by_page(
    flowstate: FlowState,
    api: Api,
    person: Person,
    flow: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flowstate("enqueue", flow["id"], "--count", "7")
    output = tmp_path / "ana.zip"
    monkeypatch.setattr("flowstate_cli.user_export._PAGE", 2)
    found = flowstate.json("users", "export", person.email, "--output", str(output))
    names = api.rpc("export_user_data", {"user_id": person.id})["datasets"]
    data = read(output)
    assert list(data) == names
    assert {name: len(rows) for name, rows in data.items()} == found["rows"]
    assert data["profile"][0]["user_id"] == person.id
    assert data["flows"][0]["id"] == flow["id"]
    assert len({row["id"] for row in data["queue"]}) == len(data["queue"]) == 7
    assert {row["user_id"] for rows in data.values() for row in rows if "user_id" in row} == {
        person.id
    }
    with zipfile.ZipFile(output) as archive:
        about = json.loads(archive.read("export.json"))
    assert (about["user_id"], about["rows"]) == (person.id, found["rows"])


def test_only_its_owner_may_read_the_file_and_nothing_lies_beside_it(
    flowstate: FlowState, person: Person, tmp_path: Path
) -> None:
    output = tmp_path / "ana.zip"
    result = flowstate("users", "export", person.id, "--output", str(output))
    assert result.exit_code == 0
    assert "profile: 1 row(s)" in result.stderr
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [output]


@pytest.mark.parametrize("fails", [NotReachableError("The API is gone."), KeyboardInterrupt()])
def test_an_export_that_fails_half_way_leaves_nothing(
    flowstate: FlowState,
    person: Person,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fails: BaseException,
) -> None:
    ask = Api.rpc

    def break_off(api: Api, name: str, arguments: Any = None) -> Any:
        if (arguments or {}).get("dataset") == "queue":
            raise fails
        return ask(api, name, arguments)

    monkeypatch.setattr(Api, "rpc", break_off)
    result = flowstate("users", "export", person.id, "--output", str(tmp_path / "ana.zip"))
    assert result.exit_code != 0
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_is_kept(flowstate: FlowState, person: Person, tmp_path: Path) -> None:
    output = tmp_path / "ana.zip"
    output.write_text("mine")
    result = flowstate("users", "export", person.id, "--output", str(output))
    assert result.exit_code == 2
    assert f"--output: {output} exists already" in result.stderr
    assert output.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [output]


def test_a_file_that_comes_to_be_there_meanwhile_is_kept(
    flowstate: FlowState, person: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "ana.zip"
    ask = Api.rpc

    def write_meanwhile(api: Api, name: str, arguments: Any = None) -> Any:
        output.write_text("mine")
        return ask(api, name, arguments)

    monkeypatch.setattr(Api, "rpc", write_meanwhile)
    result = flowstate("users", "export", person.id, "--output", str(output))
    assert result.exit_code == 2
    assert "exists already" in result.stderr
    assert output.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [output]


def test_places_and_people_that_are_not_there_are_named(
    flowstate: FlowState, person: Person, tmp_path: Path
) -> None:
    nowhere = flowstate("users", "export", person.id, "--output", str(tmp_path / "no" / "a.zip"))
    assert nowhere.exit_code == 2
    assert f"--output: There is no folder {tmp_path / 'no'}" in nowhere.stderr
    nobody = flowstate("users", "export", NOBODY, "--output", str(tmp_path / "a.zip"))
    assert nobody.exit_code == 1
    assert f"user: There is no user {NOBODY}" in nobody.stderr
    assert list(tmp_path.iterdir()) == []
