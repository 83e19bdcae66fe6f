"""`[auth.hook.*]` of supabase/config.toml, as the stack reads it before it starts anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowstate_local import project
from flowstate_local.auth_hooks import access_token_hook
from flowstate_local.errors import LocalStackError

URI = "pg-functions://postgres/public/custom_access_token_hook"


def read(tmp_path: Path, text: str) -> str | None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    return access_token_hook(path)


def hook(name: str, uri: str, *, enabled: bool = True) -> str:
    return f'[auth.hook.{name}]\nenabled = {str(enabled).lower()}\nuri = "{uri}"\n'


def test_the_enabled_hook_is_the_one_that_auth_calls(tmp_path: Path) -> None:
    assert read(tmp_path, hook("custom_access_token", URI)) == URI


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[auth]\nenabled = true\n",
        hook("custom_access_token", URI, enabled=False),
        hook("send_sms", "https://example.com", enabled=False),
    ],
)
def test_without_an_enabled_hook_none_is_called(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text) is None


@pytest.mark.parametrize("name", ["send_sms", "send_email", "before_user_created", "tomorrows"])
def test_a_hook_that_would_never_be_called_is_refused(tmp_path: Path, name: str) -> None:
    text = hook("custom_access_token", URI) + hook(name, URI)
    with pytest.raises(LocalStackError, match=rf"enables auth\.hook\.{name}.*never calls"):
        read(tmp_path, text)


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "https://example.com/hook",
        "pg-functions://postgres/hook",
        "pg-functions://postgres/public/hook/more",
        "pg-functions://postgres/public/x(null); drop table auth.users; --",
    ],
)
def test_a_hook_that_is_no_postgres_function_is_refused(tmp_path: Path, uri: str) -> None:
    with pytest.raises(LocalStackError, match="pg-functions://postgres/<schema>/<function>"):
        read(tmp_path, hook("custom_access_token", uri))


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LocalStackError, match=r"config\.toml is not TOML"):
        read(tmp_path, "[auth")


def test_this_projects_own_configuration_is_understood() -> None:
    assert access_token_hook(project.ROOT / "supabase" / "config.toml") == URI
