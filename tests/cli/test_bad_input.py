"""Bad input is answered with the field, what is wrong with it, and what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import FlowState

NOBODY = "00000000-0000-4000-8000-000000000000"
ADD = ("instances", "add", "pool-1", "--owner", "o@example.com", "--url")
EXEC = "https://script.google.com/macros/s/AKfycbx/exec"

TABLE: list[tuple[tuple[str, ...], str | None, int, str]] = [
    # arguments, stdin, exit code, what the answer says
    (("enqueue", NOBODY), None, 1, f"flow: There is no flow '{NOBODY}'"),
    (("enqueue", "no such name"), None, 1, "flow: There is no flow 'no such name'"),
    (("enqueue",), None, 2, "flow: Nothing to queue"),
    (("enqueue", NOBODY, "--priority", "-101"), None, 2, "greater than or equal to -100"),
    (("enqueue", NOBODY, "--priority", "high"), None, 2, "valid int"),
    (("enqueue", NOBODY, "--on-limit", "wait"), None, 2, "refuse"),
    (("enqueue", NOBODY, "--count", "0"), None, 2, "greater than or equal to 1"),
    (("enqueue", NOBODY, "--count", "2", "--key", "k"), None, 2, "--count: One key stands for one"),
    (("enqueue", NOBODY, "--input", "{"), None, 2, "--input: This is not JSON"),
    (("enqueue", NOBODY, "--input", "[1]"), None, 2, "--input: This must be an object, not a list"),
    (("enqueue", NOBODY, "--input", "@/no/file"), None, 2, "/no/file cannot be read: No such file"),
    (("enqueue", NOBODY, "--at", "tomorrow"), None, 2, "--at: 'tomorrow' is no time"),
    (
        ("enqueue", NOBODY, "--at", "2099-01-01T00:00:00"),
        None,
        2,
        "--at: '2099-01-01T00:00:00' has",
    ),
    (("enqueue", "--file", "/no/file"), None, 2, "--file: /no/file cannot be read"),
    (("enqueue", "--file", "-"), "", 2, "--file: stdin is empty"),
    (("enqueue", "--file", "-"), "{}\n", 2, "--file, line 1: It names no flow"),
    (("enqueue", "--file", "-"), "\nnope\n", 2, "--file: Line 2 is not JSON"),
    (("enqueue", "--file", "-"), "7\n", 2, "--file: Line 1 must be an object, not a number"),
    (("enqueue", "--file", "-"), '{"flow": 1}\n', 2, "--file, line 1: 'flow' is no field"),
    (
        ("enqueue", "--file", "-"),
        '{"flow_id": "x"}\n',
        2,
        "--file, line 1, flow_id: 'x' is no UUID",
    ),
    (
        ("enqueue", "--file", "-"),
        json.dumps({"flow_id": NOBODY}) + "\n" + json.dumps({"flow_id": NOBODY, "priority": 999}),
        2,
        "Line 2: priority must be",
    ),
    (("enqueue", NOBODY, "--at", "2999-01-01T00:00:00Z"), None, 1, "There is no flow"),
    (("queue", "show", "42"), None, 2, "execution: '42' is no UUID"),
    (("queue", "show", NOBODY), None, 1, f"execution_id: no execution {NOBODY}"),
    (("queue", "cancel", NOBODY, "--yes"), None, 1, f"execution_id: no execution {NOBODY}"),
    (("queue", "list", "--state", "done"), None, 2, "--state: 'done' is no state"),
    (("queue", "list", "--limit", "0"), None, 2, "greater than or equal to 1"),
    (("queue", "list", "--user", "ana"), None, 2, "--user: 'ana' is neither a UUID nor an e-mail"),
    (("queue", "list", "--user", NOBODY), None, 1, f"--user: There is no user {NOBODY}"),
    (("queue", "list", "--user", "no@example.com"), None, 1, "--user: No user has this e-mail"),
    (("queue", "list", "--flow", "none"), None, 1, "--flow: There is no flow 'none'"),
    (("logs", "--execution", "x"), None, 2, "--execution: 'x' is no UUID"),
    (("logs", "--since", "noon"), None, 2, "--since: 'noon' is no time"),
    (("flows", "validate", "/no/file"), None, 2, "file: /no/file cannot be read: No such file"),
    (("flows", "validate", "/"), None, 2, "file: / cannot be read: Is a directory"),
    (("flows", "validate", "-"), " \n", 2, "file: stdin is empty"),
    (("flows", "validate", "-"), "a: [1", 2, "file: stdin, line 1, column 6"),
    (("flows", "validate", "-"), "- 1", 2, "file: This must be an object, not a list"),
    (("flows", "validate", "-"), "a: &x 1\nb: *x", 2, "aliases are not supported"),
    (("flows", "validate", "-"), "a: .nan", 2, "no equivalent in JSON"),
    (("flows", "validate", "-"), "a: !!python/object:os.system {}", 2, "could not determine"),
    (("flows", "validate", "-"), "{}", 2, "steps (wrong_type)"),
    (("flows", "show", NOBODY), None, 1, f"flow: There is no flow '{NOBODY}'"),
    ((*ADD, "ftp://x/y"), None, 2, "--url: This is not an https address"),
    ((*ADD, "https://u:p@script.google.com/macros/s/x/exec"), None, 2, "without user information"),
    ((*ADD, f"{EXEC}/more"), None, 2, "--url: The path '/macros/s/AKfycbx/exec/more' is not that"),
    ((*ADD, f"{EXEC}?c=1"), None, 2, "is not that of a deployment"),
    (
        (*ADD, "https://example.com/macros/s/x/exec"),
        None,
        2,
        "example.com is not on the allow-list",
    ),
    ((*ADD, "http://script.google.com/macros/s/x/exec"), None, 2, "https"),
    (("instances", "add", "Pool 1", "--owner", "o", "--url", EXEC), None, 2, "name: 'Pool 1'"),
    ((*ADD, EXEC, "--key-id", "a b"), None, 2, "--key-id: A key id has"),
    ((*ADD, EXEC, "--account-type", "free"), None, 2, "consumer"),
    (("db", "compile"), None, 2, "name: The migration needs a name"),
    (("db", "compile", "Not A Name"), None, 2, "name: 'Not A Name' is not lower-case"),
    (("db", "check", "--database-url", "nonsense"), None, 2, "not a Postgres URL"),
    (("up", "--api-port", "99999"), None, 2, "less than or equal to 65535"),
]


@pytest.mark.parametrize(("arguments", "stdin", "code", "message"), TABLE)
def test_bad_input_is_answered_with_field_shape_and_advice(
    flowstate: FlowState, arguments: tuple[str, ...], stdin: str | None, code: int, message: str
) -> None:
    result = flowstate(*arguments, stdin=stdin)
    assert result.exit_code == code, result.output
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert "Traceback" not in result.stderr
    assert not result.stdout


def test_a_failure_is_json_too_when_that_was_asked_for(flowstate: FlowState) -> None:
    error = flowstate.json("queue", "show", "42", exit_code=2)["error"]
    assert error["field"] == "execution"
    assert error["exit_code"] == 2
    assert error["hint"]


@pytest.mark.parametrize("arguments", [("logs", "--limit", "0"), ("logs", "--no-such-option")])
def test_a_wrong_option_is_json_too(flowstate: FlowState, arguments: tuple[str, ...]) -> None:
    assert flowstate.json(*arguments, exit_code=2)["error"]["message"]


def test_a_file_that_is_no_text_is_refused(flowstate: FlowState, tmp_path: Path) -> None:
    path = tmp_path / "flow.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    result = flowstate("flows", "validate", str(path))
    assert result.exit_code == 2
    assert "it is not UTF-8 text" in result.stderr


def test_a_document_that_is_too_large_is_refused(flowstate: FlowState, tmp_path: Path) -> None:
    path = tmp_path / "flow.yaml"
    path.write_text("# " + "x" * 1_048_576)
    result = flowstate("flows", "validate", str(path))
    assert result.exit_code == 2
    assert "at most 1048576 are read" in result.stderr
