"""The settings of Google tokens: optional, checked together, refused by name, never by value."""

import json
from base64 import b64encode

import pytest

from flowstate_worker.errors import SettingsInvalid
from flowstate_worker.rules.sealing import new_key
from flowstate_worker.settings import load_settings
from tests.worker.test_settings import GOOD

KEY = new_key()
TWO = json.dumps({"k1": KEY, "k2": new_key()})
CLIENT = {"GOOGLE_CLIENT_ID": "x.apps.googleusercontent.com", "GOOGLE_CLIENT_SECRET": "CANARY-sec"}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)


def given(monkeypatch: pytest.MonkeyPatch, **settings: str) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(f"FLOWSTATE_{name}", value)


def test_without_any_of_them_no_token_is_refreshed() -> None:
    settings = load_settings()
    assert settings.refreshes_tokens is False
    assert settings.key_ring() is None


def test_a_client_and_a_key_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, **CLIENT, TOKEN_KEYS=json.dumps({"k1": KEY}))
    settings = load_settings()
    ring = settings.key_ring()
    assert ring is not None
    assert (settings.refreshes_tokens, ring.key_id) == (True, "k1")
    assert settings.google_token_url == "https://oauth2.googleapis.com/token"


def test_of_several_keys_the_one_that_seals_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, TOKEN_KEYS=TWO, TOKEN_KEY_ID="k2")
    ring = load_settings().key_ring()
    assert ring is not None
    assert (ring.key_id, ring.ids) == ("k2", ("k1", "k2"))


def test_empty_ones_count_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    empty = dict.fromkeys((*CLIENT, "TOKEN_KEYS", "TOKEN_KEY_ID"), "")
    given(monkeypatch, **empty)
    assert load_settings().refreshes_tokens is False


BAD: list[tuple[dict[str, str], str, str]] = [
    ({"TOKEN_KEYS": "CANARY"}, "TOKEN_KEYS", "must be JSON"),
    ({"TOKEN_KEYS": '{"k1": "CANARY"}'}, "TOKEN_KEYS", "the key 'k1' must be base64 of 32 bytes"),
    (
        {"TOKEN_KEYS": json.dumps({"k1": b64encode(b"CANARY" * 5).decode()})},
        "TOKEN_KEYS",
        "the key 'k1' must be base64 of 32 bytes",
    ),
    ({"TOKEN_KEYS": json.dumps({KEY: "CANARY"})}, "TOKEN_KEYS", "has a key id that is not"),
    ({"TOKEN_KEYS": TWO}, "TOKEN_KEY_ID", "there is more than one"),
    ({"TOKEN_KEYS": TWO, "TOKEN_KEY_ID": "k3"}, "TOKEN_KEY_ID", "one of the keys"),
    ({"TOKEN_KEY_ID": "CANARY CANARY"}, "TOKEN_KEY_ID", "must be 1 to 40 letters"),
    ({"GOOGLE_CLIENT_ID": "x"}, "GOOGLE_CLIENT_SECRET", "must be set together"),
    ({"GOOGLE_CLIENT_SECRET": "CANARY"}, "GOOGLE_CLIENT_ID", "must be set together"),
    ({"GOOGLE_CLIENT_ID": "GOCSPX-CANARY"}, "GOOGLE_CLIENT_ID", "is a client secret"),
    ({"GOOGLE_TOKEN_URL": "http://oauth2.googleapis.com/token"}, "GOOGLE_TOKEN_URL", "https"),
    ({"GOOGLE_TOKEN_URL": "https://a:CANARY@x.test/token"}, "GOOGLE_TOKEN_URL", "must look like"),
    ({"GOOGLE_TOKEN_URL": "https://elsewhere.test/token"}, "GOOGLE_TOKEN_URL", "GOOGLE_HOSTS"),
    (
        {"GOOGLE_TOKEN_URL": "https://oauth2.googleapis.com.elsewhere.test/token"},
        "GOOGLE_TOKEN_URL",
        "GOOGLE_HOSTS",
    ),
    ({"GOOGLE_TOKEN_URL": "https://oauth2.googleapis.com"}, "GOOGLE_TOKEN_URL", "/token"),
    ({"GOOGLE_HOSTS": "https://x"}, "GOOGLE_HOSTS", "not a host"),
    ({"TOKEN_REFRESH_BATCH": "1001"}, "TOKEN_REFRESH_BATCH", "less than or equal"),
    ({"TOKEN_REFRESH_LEAD_SECONDS": "3001"}, "TOKEN_REFRESH_LEAD_SECONDS", "less than or equal"),
    ({"TOKEN_LEASE_SECONDS": "50"}, "TOKEN_LEASE_SECONDS", "must be longer than a batch takes"),
    ({"GOOGLE_TIMEOUT_SECONDS": "24"}, "TOKEN_LEASE_SECONDS", "GOOGLE_TIMEOUT_SECONDS"),
    ({"TOKEN_REFRESH_AT_ONCE": "1"}, "TOKEN_LEASE_SECONDS", "TOKEN_REFRESH_AT_ONCE"),
]


@pytest.mark.parametrize(("settings", "name", "says"), BAD)
def test_what_cannot_work_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], name: str, says: str
) -> None:
    given(monkeypatch, **settings)
    with pytest.raises(SettingsInvalid) as refused:
        load_settings()
    told = str(refused.value)
    assert f"FLOWSTATE_{name}" in told
    assert says in told
    assert "CANARY" not in told
    assert KEY not in told


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("http://127.0.0.1:8123/token", ""),
        ("http://localhost/token", ""),
        ("https://sts.example.com/o/token", "sts.example.com"),
        ("https://sts.example.com:8443/token", "sts.example.com:8443, oauth2.googleapis.com"),
    ],
)
def test_another_address_is_loopback_or_named(
    monkeypatch: pytest.MonkeyPatch, url: str, hosts: str
) -> None:
    given(monkeypatch, GOOGLE_TOKEN_URL=url, **({"GOOGLE_HOSTS": hosts} if hosts else {}))
    assert load_settings().google_token_url == url


def test_vaults_keys_are_refused_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings()
    assert settings.key_ring_of({"k1": KEY}).key_id == "k1"
    with pytest.raises(SettingsInvalid, match=r"^FLOWSTATE_TOKEN_KEYS: is not set") as none:
        settings.key_ring_of({})
    assert none.value.exit_code == 2
    with pytest.raises(SettingsInvalid, match=r"^Vault, .*the key 'k1' must be") as bad:
        settings.key_ring_of({"k1": "CANARY"})
    assert "CANARY" not in str(bad.value)
    with pytest.raises(SettingsInvalid, match=r"^FLOWSTATE_TOKEN_KEY_ID: .* more than one"):
        settings.key_ring_of(json.loads(TWO))


def test_they_do_not_show_and_the_redaction_knows_them(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, **CLIENT, TOKEN_KEYS=TWO, TOKEN_KEY_ID="k1")
    settings = load_settings()
    secrets = {*json.loads(TWO).values(), CLIENT["GOOGLE_CLIENT_SECRET"]}
    assert secrets <= set(settings.secrets())
    assert not any(secret in repr(settings) + str(settings) for secret in secrets)
