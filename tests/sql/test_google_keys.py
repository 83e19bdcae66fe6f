"""One key takes the place of another; Vault is asked where there is one."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from flowstate_worker.rules.sealing import KeyRing, Kind
from tests.sql.driver import QueueDriver, Row
from tests.sql.google import ACCESS, KEYS, REFRESH, Connections, ids, lease, refreshed

NEW = KeyRing(KEYS, "k2")


@pytest.fixture
def google(queue: QueueDriver) -> Connections:
    queue.do("truncate private.google_tokens")
    return Connections(queue)


def to_reseal(google: Connections, most: int = 100, after: Any = None) -> list[Row]:
    return google.queue.rows(
        "select * from public.claim_google_tokens_to_reseal('k2', %s, %s)", most, after
    )


def resealed(row: Row, **fields: Any) -> Row:
    """The item that puts a token under the new key."""
    owner = row["user_id"]

    def again(sealed: str | None, kind: Kind) -> str | None:
        if sealed is None:
            return None
        return NEW.seal(NEW.open(sealed, owner, kind, row["key_id"]), owner, kind)

    return {
        "user_id": str(owner),
        "version": row["version"],
        "key_id": "k2",
        "sealed_refresh_token": again(row["sealed_refresh_token"], Kind.REFRESH),
        "sealed_access_token": again(row["sealed_access_token"], Kind.ACCESS),
        **fields,
    }


def finish(google: Connections, *items: Row) -> list[str]:
    rows = google.queue.rows(
        "select * from public.finish_google_token_reseals(%s)", Jsonb(list(items))
    )
    return [row["answer"] for row in rows]


def test_what_is_sealed_with_another_key_comes_in_pages(google: Connections) -> None:
    users = sorted(google.connect() for _ in range(5))
    google.connect(ring=NEW)
    first = to_reseal(google, 3)
    rest = to_reseal(google, 3, first[-1]["user_id"])
    assert [str(row["user_id"]) for row in first + rest] == users


def test_a_resealed_token_is_the_same_under_the_new_key(google: Connections) -> None:
    user = google.connect()
    [row] = to_reseal(google)
    assert finish(google, resealed(row)) == ["resealed"]
    after = google.row(user)
    assert (after["key_id"], after["version"]) == ("k2", row["version"] + 1)
    owner = uuid.UUID(user)
    only_new = KeyRing({"k2": KEYS["k2"]})
    assert only_new.open(after["sealed_refresh_token"], owner, Kind.REFRESH, "k2") == REFRESH
    assert only_new.open(after["sealed_access_token"], owner, Kind.ACCESS, "k2") == ACCESS
    assert to_reseal(google) == []


def test_one_without_an_access_token_is_resealed_too(google: Connections) -> None:
    google.connect(expires_in=None)
    [row] = to_reseal(google)
    assert finish(google, resealed(row)) == ["resealed"]


def test_a_token_that_was_refreshed_meanwhile_is_not_overwritten(google: Connections) -> None:
    user = google.connect(expires_in=1)
    [row] = to_reseal(google)
    [claimed] = google.claim()
    google.finish(refreshed(claimed))
    after = google.row(user)
    assert finish(google, resealed(row)) == ["changed"]
    assert google.row(user) == after
    [again] = to_reseal(google)
    assert finish(google, resealed(again)) == ["resealed"]


def test_a_refresh_that_began_before_still_ends_after_the_exchange(google: Connections) -> None:
    user = google.connect(expires_in=1)
    [claimed] = google.claim()
    [row] = to_reseal(google)
    assert finish(google, resealed(row)) == ["resealed"]
    assert google.finish(refreshed(claimed, ring=NEW))[0]["answer"] == "accepted"
    after = google.row(user)
    assert after["key_id"] == "k2"
    assert NEW.open(after["sealed_refresh_token"], uuid.UUID(user), Kind.REFRESH, "k2") == REFRESH


@pytest.mark.parametrize("how", ["revoked", "connected", "gone"])
def test_what_became_of_it_meanwhile_stays(google: Connections, how: str) -> None:
    user = google.connect(expires_in=1)
    [row] = to_reseal(google)
    if how == "revoked":
        [claimed] = google.claim()
        google.finish({**lease(claimed), "outcome": "revoked", "reason": "invalid_grant"})
    elif how == "connected":
        google.connect(user)
    else:
        google.queue.value("select public.disconnect_google(%s)", user)
    before = google.queue.rows("select * from private.google_tokens")
    assert finish(google, resealed(row)) == ["gone" if how == "gone" else "changed"]
    assert google.queue.rows("select * from private.google_tokens") == before


def test_the_same_user_twice_counts_once(google: Connections) -> None:
    google.connect()
    [row] = to_reseal(google)
    assert finish(google, resealed(row), resealed(row)) == ["resealed"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"user_id": "CANARY"}, "items[0]: user_id must be a uuid"),
        ({"version": "CANARY"}, "items[0]: version must be an integer"),
        ({"version": None}, "items[0]: version must be an integer"),
        ({"key_id": "CANARY CANARY"}, "items[0]: key_id must be"),
        ({"sealed_refresh_token": "1//0CANARY"}, "must be sealed tokens"),
        ({"sealed_refresh_token": None}, "must be sealed tokens"),
        ({"sealed_access_token": "ya29.CANARY"}, "must be sealed tokens"),
    ],
)
def test_a_malformed_item_is_refused_without_its_value(
    google: Connections, change: Row, says: str
) -> None:
    google.connect()
    [row] = to_reseal(google)
    with pytest.raises(psycopg.Error) as refused:
        finish(google, resealed(row, **change))
    assert refused.value.sqlstate == "PT400"
    assert says in str(refused.value)
    assert "CANARY" not in str(refused.value)


@pytest.mark.parametrize("arguments", ["null, 1", "'no blanks', 1", "'k2', 0", "'k2', 1001"])
def test_a_page_of_nonsense_is_refused(google: Connections, arguments: str) -> None:
    with pytest.raises(psycopg.Error) as refused:
        google.queue.do(f"select * from public.claim_google_tokens_to_reseal({arguments})")
    assert refused.value.sqlstate == "PT400"


def status(google: Connections) -> Row:
    found = google.queue.value("select public.get_google_token_status()")
    assert isinstance(found, dict)
    return found


def test_the_status_counts_and_tells_no_content(google: Connections) -> None:
    assert status(google) == {
        "total": 0,
        "statuses": {"active": 0, "failing": 0, "revoked": 0},
        "reasons": {},
        "keys": [],
        "refreshing": 0,
        "vault": False,
    }
    google.connect(ring=NEW)
    for _ in range(3):
        google.connect(expires_in=1)
    first, second, _ = google.claim()
    google.finish({**lease(first), "outcome": "revoked", "reason": "invalid_grant"})
    google.finish({**lease(second), "outcome": "failed", "reason": "network"})
    found = status(google)
    assert found["statuses"] == {"active": 2, "failing": 1, "revoked": 1}
    assert found["reasons"] == {"invalid_grant": 1, "network": 1}
    assert found["keys"] == [{"key_id": "k1", "tokens": 2}, {"key_id": "k2", "tokens": 1}]
    assert (found["total"], found["refreshing"]) == (4, 1)
    text = json.dumps(found)
    assert not any(
        row in text for row in ids(google.queue.rows("select * from auth.users limit 0"))
    )
    assert "sealed" not in text


# -- Vault -----------------------------------------------------------------------------------


def test_without_vault_there_are_no_keys_and_no_error(google: Connections) -> None:
    assert google.queue.value("select to_regclass('vault.decrypted_secrets')") is None
    assert google.queue.value("select public.get_google_token_keys()") == {}


@pytest.fixture
def vault(google: Connections) -> Iterator[Connections]:
    """What Vault shows, as its extension defines it: this server cannot have the extension."""
    google.queue.do("create schema vault")
    google.queue.do(
        "create view vault.decrypted_secrets as select gen_random_uuid() as id, name::text,"
        " ''::text as description, 'sealed'::text as secret, secret::text as decrypted_secret,"
        " now() as created_at from (values ('flowstate_token_key_k1', 'one'),"
        " ('flowstate_token_key_k-2_b', 'two'), ('flowstate_token_keys', 'CANARY'),"
        " ('flowstateXtoken_key_x', 'CANARY'), ('other', 'CANARY')) v(name, secret)"
    )
    yield google
    google.queue.do("drop schema vault cascade")


def test_vaults_keys_are_read_by_their_names_and_nothing_else_of_it(vault: Connections) -> None:
    with vault.queue.acting_as("service_role"):
        found = vault.queue.value("select public.get_google_token_keys()")
    assert found == {"k1": "one", "k-2_b": "two"}
    assert status(vault)["vault"] is True


@pytest.mark.parametrize("role", ["anon", "authenticated"])
def test_vaults_keys_are_for_the_service_only(vault: Connections, role: str) -> None:
    with (
        pytest.raises(psycopg.errors.InsufficientPrivilege),
        vault.queue.acting_as(role, vault.user()),
    ):
        vault.queue.value("select public.get_google_token_keys()")
