"""Settings are refused as a whole at start, each with its name and without its value."""

import json
from typing import Any

import pytest

from flowstate_worker.errors import SettingsInvalid
from flowstate_worker.settings import Settings, load_settings

GOOD = {
    "FLOWSTATE_SUPABASE_URL": "https://project.supabase.co/",
    "FLOWSTATE_SERVICE_KEY": "sb_secret_CANARY",
    "FLOWSTATE_INSTANCE_KEYS": json.dumps({"k1": "CANARY-CANARY-CANARY"}),
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)


def test_three_settings_are_enough() -> None:
    settings = load_settings()
    assert settings.supabase_url == "https://project.supabase.co"
    assert settings.exec_hosts == ("script.google.com",)
    assert settings.heartbeat == 20.0


def test_every_field_is_read_from_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWSTATE_EXEC_HOSTS", "127.0.0.1:1, script.google.com")
    monkeypatch.setenv("FLOWSTATE_LEASE_SECONDS", "90")
    monkeypatch.setenv("FLOWSTATE_REALTIME", "false")
    settings = load_settings()
    assert settings.exec_hosts == ("127.0.0.1:1", "script.google.com")
    assert (settings.lease_seconds, settings.heartbeat, settings.realtime) == (90, 30.0, False)


@pytest.mark.parametrize("name", GOOD)
def test_a_missing_setting_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv(name)
    with pytest.raises(SettingsInvalid, match=f"^{name}: "):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("SUPABASE_URL", "project.supabase.co", "must look like"),
        ("SUPABASE_URL", "http://project.supabase.co", "must use https"),
        ("SUPABASE_URL", "https://u:p@project.supabase.co", "must look like"),
        ("SERVICE_KEY", "sb_publishable_CANARY", "publishable"),
        ("SERVICE_KEY", "CANARY", "sb_secret_"),
        ("INSTANCE_KEYS", "CANARY", "INSTANCE_KEYS"),
        ("INSTANCE_KEYS", "{}", "at least one"),
        ("INSTANCE_KEYS", '{"k1": "CANARY"}', "shorter than 16"),
        ("EXEC_HOSTS", "https://script.google.com", "not a host"),
        ("MAX_IN_FLIGHT", "0", "greater than or equal to 1"),
        ("MAX_IN_FLIGHT", "many", "integer"),
        ("CLAIM_BATCH", "1001", "less than or equal to 1000"),
        ("LEASE_SECONDS", "2", "greater than or equal to 3"),
        ("SCRIPT_SECONDS", "301", "less than or equal to 300"),
        ("STATUS_PORT", "65536", "65535"),
        ("LOG_LEVEL", "loud", "LOG_LEVEL"),
        ("HEARTBEAT_SECONDS", "30", "FLOWSTATE_LEASE_SECONDS must be at least three times"),
        ("API_TIMEOUT_SECONDS", "41", "FLOWSTATE_API_TIMEOUT_SECONDS together"),
        ("POLL_MAX_SECONDS", "0.01", "FLOWSTATE_POLL_MIN_SECONDS"),
        ("FIRST_HOP_SECONDS", "300", "FLOWSTATE_FIRST_HOP_SECONDS must be longer"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(f"FLOWSTATE_{name}", value)
    with pytest.raises(SettingsInvalid) as refused:
        load_settings()
    assert f"FLOWSTATE_{name}" in str(refused.value)
    assert says in str(refused.value)
    assert "CANARY" not in str(refused.value)
    assert refused.value.exit_code == 2


def test_settings_do_not_show_their_secrets() -> None:
    assert "CANARY" not in repr(load_settings())
    assert "CANARY" not in str(load_settings())


def test_all_secrets_are_known_to_the_redaction() -> None:
    assert set(load_settings().secrets()) == {"sb_secret_CANARY", "CANARY-CANARY-CANARY"}


def test_every_default_can_work() -> None:
    fields: dict[str, Any] = dict(Settings.model_fields)
    assert {name for name, field in fields.items() if field.is_required()} == {
        "supabase_url",
        "service_key",
        "instance_keys",
    }
