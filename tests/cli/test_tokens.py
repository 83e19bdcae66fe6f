"""`flowstate tokens`: connecting, counting, exchanging a key, ending; nothing readable is shown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from flowstate_cli.api import Api
from flowstate_cli.google_tokens import Rotation, reseal
from flowstate_local import LocalStack
from flowstate_worker.rules.sealing import KeyRing, Kind, read_keys
from tests.google import SCOPE, Client, Google, Json
from tests.sql.driver import QueueDriver
from tests.sql.google import KEY_TEXTS, KEYS, RING, Connections, refreshed

from .conftest import FlowState, Person

NEW = KeyRing(KEYS, "k2")
BOTH = json.dumps(KEY_TEXTS)


@pytest.fixture
def connections(stack: LocalStack) -> Iterator[Connections]:
    queue = QueueDriver(stack.info.db_url)
    queue.do("truncate private.google_tokens")
    yield Connections(queue)
    queue.do("truncate private.google_tokens")
    queue.close()


@pytest.fixture
def google(stack: LocalStack) -> Iterator[Google]:
    made = Google(stack.info.simulator_url)
    yield made
    made.close()


@pytest.fixture
def client(google: Google) -> Client:
    return google.client()


@pytest.fixture
def tokens(flowstate: FlowState, google: Google) -> FlowState:
    """With two keys, of which the first seals, and the simulator's Google."""
    flowstate.environment |= {
        "FLOWSTATE_TOKEN_KEYS": BOTH,
        "FLOWSTATE_TOKEN_KEY_ID": "k1",
        "FLOWSTATE_GOOGLE_TOKEN_URL": google.token_url,
    }
    return flowstate


@pytest.fixture
def answer(google: Google, client: Client) -> Json:
    return google.consent(client)


@pytest.fixture
def file(tmp_path: Path, answer: Json) -> str:
    path = tmp_path / "answer.json"
    path.write_text(json.dumps({**answer, "id_token": "eyJhbGciOi.CANARY.sig"}))
    return str(path)


def secrets_of(answer: Json) -> list[str]:
    return [answer["refresh_token"], answer["access_token"], "CANARY"]


# -- connect ---------------------------------------------------------------------------------


def test_a_user_is_connected_from_a_file(
    tokens: FlowState, connections: Connections, person: Person, file: str, answer: Json
) -> None:
    result = tokens("tokens", "connect", "--user", person.email, "--file", file)
    assert result.exit_code == 0, result.output
    assert not any(secret in result.output + result.stderr for secret in secrets_of(answer))
    assert "delete it" in result.stderr
    row = connections.row(person.id)
    opened = RING.open(row["sealed_refresh_token"], UUID(person.id), Kind.REFRESH, "k1")
    assert opened == answer["refresh_token"]
    assert row["scopes"] == SCOPE.split()
    assert row["sealed_access_token"] is None, "nobody knows how old the file is"
    assert len(connections.claim()) == 1, "a fresh one is asked for at once"


def test_a_user_is_connected_from_stdin(
    tokens: FlowState, connections: Connections, person: Person, answer: Json
) -> None:
    command = ("tokens", "connect", "--user", person.id, "--file", "-")
    stored = tokens.json(*command, stdin=json.dumps(answer))
    assert stored == {
        "user_id": person.id,
        "status": "active",
        "replaced": False,
        "key_id": "k1",
    }
    assert tokens.json(*command, stdin=json.dumps(answer))["replaced"] is True


BAD_ANSWERS = [
    ("CANARY: !CANARY [*CANARY", "stdin is not JSON"),
    ('{"refresh_token": "CANARY"', "stdin is not JSON"),
    ("[]", "must be an object"),
    ('{"error": "invalid_grant", "error_description": "CANARY"}', "access_token, expires_in"),
    ('{"access_token": "CANARY", "expires_in": 3599}', "It holds no refresh_token"),
    (
        '{"access_token": "CANARY", "expires_in": "CANARY", "refresh_token": "CANARY"}',
        "expires_in cannot be used",
    ),
    (
        '{"access_token": "CANARY", "expires_in": 3599, "refresh_token": ["CANARY"]}',
        "refresh_token cannot be used",
    ),
]


@pytest.mark.parametrize(("stdin", "says"), BAD_ANSWERS)
@pytest.mark.parametrize("as_json", [False, True])
def test_what_is_no_answer_of_googles_is_refused_without_being_repeated(
    tokens: FlowState, person: Person, stdin: str, says: str, as_json: bool
) -> None:
    command = ["tokens", "connect", "--user", person.id, "--file", "-"]
    result = tokens(*command, *(["--json"] if as_json else []), stdin=stdin)
    assert result.exit_code == 2, result.output
    assert says in result.stderr
    assert "--file" in result.stderr
    assert "CANARY" not in result.output + result.stderr


def test_without_a_key_nothing_is_stored(
    flowstate: FlowState, connections: Connections, person: Person, file: str
) -> None:
    result = flowstate("tokens", "connect", "--user", person.id, "--file", file)
    assert result.exit_code == 3
    assert "FLOWSTATE_TOKEN_KEYS" in result.stderr
    assert "flowstate tokens new-key" in result.stderr


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"FLOWSTATE_TOKEN_KEYS": "CANARY"}, "FLOWSTATE_TOKEN_KEYS: must be JSON"),
        (
            {"FLOWSTATE_TOKEN_KEYS": '{"k1": "CANARY"}'},
            "FLOWSTATE_TOKEN_KEYS: the key 'k1' must be base64 of 32 bytes",
        ),
        ({"FLOWSTATE_TOKEN_KEY_ID": "k9"}, "FLOWSTATE_TOKEN_KEY_ID must name one of the keys"),
        ({"FLOWSTATE_TOKEN_KEY_ID": None}, "there is more than one"),
    ],
)
@pytest.mark.parametrize("command", ["status", "rotate-keys"])
def test_bad_keys_are_refused_by_name_and_without_their_value(
    tokens: FlowState,
    connections: Connections,
    command: str,
    environment: dict[str, str | None],
    says: str,
) -> None:
    result = tokens("tokens", command, **environment)
    assert result.exit_code == 2, result.output
    assert says in result.stderr
    assert "CANARY" not in result.stderr
    assert not any(key in result.stderr for key in KEY_TEXTS.values())


def test_vaults_keys_are_used_where_the_environment_has_none(
    tokens: FlowState, connections: Connections, person: Person, file: str
) -> None:
    queue = connections.queue
    queue.do("create schema vault")
    queue.do(
        "create view vault.decrypted_secrets as select 'flowstate_token_key_k2'::text as name,"
        f" '{KEY_TEXTS['k2']}'::text as decrypted_secret"
    )
    environment = {"FLOWSTATE_TOKEN_KEYS": None, "FLOWSTATE_TOKEN_KEY_ID": None}
    tokens.overrides |= environment
    try:
        tokens.json("tokens", "connect", "--user", person.id, "--file", file)
        status = tokens.json("tokens", "status")
    finally:
        queue.do("drop schema vault cascade")
    row = connections.row(person.id)
    only = KeyRing({"k2": KEYS["k2"]})
    assert only.open(row["sealed_refresh_token"], UUID(person.id), Kind.REFRESH, "k2")
    assert status["vault"] is True
    assert status["keys"] == [{"key_id": "k2", "tokens": 1, "held": True, "seals": True}]


# -- status ----------------------------------------------------------------------------------


def test_the_status_counts_by_key_and_state(tokens: FlowState, connections: Connections) -> None:
    lost = KeyRing(read_keys({"gone": KEY_TEXTS["k1"]}))
    for ring in (RING, RING, NEW, lost):
        connections.connect(ring=ring)
    found = tokens.json("tokens", "status")
    assert (found["total"], found["statuses"]["active"], found["vault"]) == (4, 4, False)
    assert found["keys"] == [
        {"key_id": "gone", "tokens": 1, "held": False, "seals": False},
        {"key_id": "k1", "tokens": 2, "held": True, "seals": True},
        {"key_id": "k2", "tokens": 1, "held": True, "seals": False},
    ]
    told = tokens("tokens", "status")
    assert told.exit_code == 0
    assert "needed: gone" in told.stderr


def test_the_status_needs_no_key(flowstate: FlowState, connections: Connections) -> None:
    connections.connect()
    found = flowstate.json("tokens", "status")
    assert found["keys"] == [{"key_id": "k1", "tokens": 1, "held": False, "seals": False}]


# -- rotate-keys -----------------------------------------------------------------------------


def test_all_tokens_move_to_the_new_key_and_the_old_one_may_go(
    tokens: FlowState, connections: Connections
) -> None:
    users = [connections.connect() for _ in range(7)]
    tokens.overrides["FLOWSTATE_TOKEN_KEY_ID"] = "k2"
    found = tokens.json("tokens", "rotate-keys", "--batch", "3")
    assert found == {
        "key_id": "k2",
        "resealed": 7,
        "tokens": 7,
        "left": {},
        "unreadable": {},
        "removable": ["k1"],
    }
    only = KeyRing({"k2": KEYS["k2"]})
    for user in users:
        row = connections.row(user)
        assert only.open(row["sealed_refresh_token"], UUID(user), Kind.REFRESH, "k2")
        assert only.open(row["sealed_access_token"], UUID(user), Kind.ACCESS, "k2")


def test_the_progress_and_the_advice_are_said(tokens: FlowState, connections: Connections) -> None:
    for _ in range(4):
        connections.connect()
    result = tokens("tokens", "rotate-keys", "--batch", "2", FLOWSTATE_TOKEN_KEY_ID="k2")
    assert result.exit_code == 0
    assert "resealed 2 of 4" in result.stderr
    assert "resealed 4 of 4" in result.stderr
    assert "Nothing needs the key k1 any more" in result.stderr
    again = tokens.json("tokens", "rotate-keys")
    assert (again["key_id"], again["resealed"]) == ("k1", 4)


def test_a_rotation_that_was_interrupted_goes_on_where_it_was(
    tokens: FlowState, connections: Connections, api: Api
) -> None:
    for _ in range(6):
        connections.connect()

    def interrupt(_rotation: Rotation) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reseal(api, NEW, 2, interrupt)
    assert (
        connections.queue.value("select count(*) from private.google_tokens where key_id = 'k2'")
        == 2
    )
    tokens.overrides["FLOWSTATE_TOKEN_KEY_ID"] = "k2"
    assert tokens.json("tokens", "rotate-keys")["resealed"] == 4


def test_what_is_refreshed_meanwhile_is_neither_overwritten_nor_left(
    connections: Connections, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = connections.connect(expires_in=1)
    connections.connect()
    rpc = Api.rpc

    def meanwhile(self: Api, name: str, arguments: dict[str, Any] | None = None) -> Any:
        if name == "finish_google_token_reseals" and (claimed := connections.claim()):
            connections.finish(refreshed(claimed[0]))  # a worker that still seals with k1
        return rpc(self, name, arguments)

    monkeypatch.setattr(Api, "rpc", meanwhile)
    seen: list[tuple[int, int]] = []
    rotation = reseal(api, NEW, 10, lambda now: seen.append((now.resealed, now.changed)))
    assert seen[0] == (1, 1)
    assert rotation.resealed == 2
    row = connections.row(user)
    opened = NEW.open(row["sealed_access_token"], UUID(user), Kind.ACCESS, row["key_id"])
    assert (row["key_id"], opened) == ("k2", "ya29.a0CANARY-access-2")


def test_a_worker_that_goes_on_with_the_old_key_is_not_chased_for_ever(
    connections: Connections, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    connections.connect()
    rpc = Api.rpc
    calls = 0

    def meanwhile(self: Api, name: str, arguments: dict[str, Any] | None = None) -> Any:
        nonlocal calls
        if name == "finish_google_token_reseals":
            calls += 1
            connections.connect()
        return rpc(self, name, arguments)

    monkeypatch.setattr(Api, "rpc", meanwhile)
    reseal(api, NEW, 10, lambda _now: None)
    assert calls == 3


def test_what_no_key_opens_is_left_counted_and_advised_on(
    tokens: FlowState, connections: Connections
) -> None:
    lost = KeyRing(read_keys({"gone": KEY_TEXTS["k1"]}))
    connections.connect(ring=lost)
    tampered = connections.connect()
    other = connections.connect()
    connections.set(
        tampered,
        "sealed_refresh_token = (select o.sealed_refresh_token from private.google_tokens o"
        f" where o.user_id = '{other}')",
    )
    tokens.overrides["FLOWSTATE_TOKEN_KEY_ID"] = "k2"
    found = tokens.json("tokens", "rotate-keys", exit_code=1)
    assert (found["resealed"], found["left"]) == (1, {"gone": 1, "k1": 1})
    assert found["unreadable"] == {"unknown_key": 1, "tampered": 1}
    assert found["removable"] == []
    told = tokens("tokens", "rotate-keys")
    assert told.exit_code == 1
    assert "1 under gone" in told.stderr
    assert "Add the missing keys to FLOWSTATE_TOKEN_KEYS" in told.stderr


# -- disconnect ------------------------------------------------------------------------------


def test_a_connection_is_ended_here_and_at_google(
    tokens: FlowState, connections: Connections, google: Google, person: Person, answer: Json
) -> None:
    connections.connect(person.id, refresh=answer["refresh_token"])
    ended = tokens.json("tokens", "disconnect", "--user", person.email, "--yes")
    assert ended == {
        "user_id": person.id,
        "disconnected": True,
        "ended_at_google": True,
        "reason": None,
    }
    assert google.grant(answer["refresh_token"])["withdrawn"] is True
    assert connections.get(person.id) == []
    again = tokens("tokens", "disconnect", "--user", person.id, "--yes")
    assert again.exit_code == 1
    assert "not connected" in again.stderr


def test_a_grant_that_was_over_before_counts_as_ended(
    tokens: FlowState, connections: Connections, google: Google, person: Person, answer: Json
) -> None:
    connections.connect(person.id, refresh=answer["refresh_token"])
    google.withdraw(answer["refresh_token"])
    ended = tokens.json("tokens", "disconnect", "--user", person.id, "--yes")
    assert ended["ended_at_google"] is True


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"FLOWSTATE_GOOGLE_TOKEN_URL": "http://127.0.0.1:9/token"}, "network"),
        ({"FLOWSTATE_TOKEN_KEYS": None, "FLOWSTATE_TOKEN_KEY_ID": None}, "unknown_key"),
    ],
)
def test_where_google_cannot_be_told_it_is_said_and_deleted_all_the_same(
    tokens: FlowState,
    connections: Connections,
    person: Person,
    answer: Json,
    environment: dict[str, str | None],
    reason: str,
) -> None:
    connections.connect(person.id, refresh=answer["refresh_token"])
    result = tokens("tokens", "disconnect", "--user", person.id, "--yes", **environment)
    assert result.exit_code == 1
    assert f"not ended ({reason})" in result.stderr
    assert "myaccount.google.com" in result.stderr
    assert answer["refresh_token"] not in result.output + result.stderr
    assert connections.get(person.id) == []


def test_nothing_is_deleted_unasked_or_with_a_wrong_setting(
    tokens: FlowState, connections: Connections, person: Person
) -> None:
    connections.connect(person.id)
    assert tokens("tokens", "disconnect", "--user", person.id).exit_code == 2
    wrong = {"FLOWSTATE_TOKEN_KEYS": "CANARY"}
    assert tokens("tokens", "disconnect", "--user", person.id, "--yes", **wrong).exit_code == 2
    assert len(connections.get(person.id)) == 1


# -- new-key ---------------------------------------------------------------------------------


def test_a_new_key_can_be_used_as_it_is_shown(flowstate: FlowState) -> None:
    shown = flowstate("tokens", "new-key")
    assert shown.exit_code == 0
    lines = dict(line.split("=", 1) for line in shown.stdout.splitlines())
    keys = read_keys(json.loads(lines["FLOWSTATE_TOKEN_KEYS"].strip("'")))
    assert KeyRing(keys, lines["FLOWSTATE_TOKEN_KEY_ID"]).ids == tuple(keys)


def test_each_new_key_is_another_under_the_id_that_was_asked_for(flowstate: FlowState) -> None:
    first, second = (flowstate.json("tokens", "new-key", "--id", "k7") for _ in range(2))
    assert first["key_id"] == second["key_id"] == "k7"
    assert first["key"] != second["key"]
    assert flowstate("tokens", "new-key", "--id", "no blanks").exit_code == 2
