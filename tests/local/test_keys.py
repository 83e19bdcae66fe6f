"""Keys: fresh for each stack, in the shapes of hosted ones, and never shown."""

from __future__ import annotations

import json
import re
import stat

import jwt
import pytest

from flowstate_local.keys import make_keys
from tests.local.conftest import MakeStack


def test_no_two_creations_share_a_secret() -> None:
    first, second = make_keys(), make_keys()
    assert set(first.secrets()).isdisjoint(second.secrets())


@pytest.mark.parametrize("role", ["anon", "service_role"])
def test_legacy_keys_are_tokens_of_their_role(role: str) -> None:
    keys = make_keys()
    token = keys.anon_key if role == "anon" else keys.service_role_key
    claims = jwt.decode(token, keys.jwt_secret, algorithms=["HS256"])
    assert claims["role"] == role


def test_new_keys_have_the_hosted_shape() -> None:
    keys = make_keys()
    assert re.fullmatch(r"sb_publishable_[\w-]{22}_[\w-]{8}", keys.publishable_key)
    assert re.fullmatch(r"sb_secret_[\w-]{22}_[\w-]{8}", keys.secret_key)


def test_a_stack_keeps_its_keys_until_it_is_destroyed(make_stack: MakeStack) -> None:
    stack = make_stack()
    stack.start()
    first = stack.info
    stack.stop()
    stack.start()
    assert stack.info.jwt_secret == first.jwt_secret
    stack.destroy()
    stack.start()
    second = stack.info
    assert first.jwt_secret != second.jwt_secret
    assert first.secret_key != second.secret_key
    assert first.db_url != second.db_url
    assert first.instance_keys != second.instance_keys


def test_only_the_owner_may_read_what_a_stack_wrote_down(make_stack: MakeStack) -> None:
    stack = make_stack(components=("postgres", "gateway"))
    stack.start()
    assert stat.S_IMODE(stack.directory.stat().st_mode) == 0o700
    for path in stack.directory.rglob("*"):
        if path.is_file() and "postgres" not in path.relative_to(stack.directory).parts:
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_the_environment_names_what_worker_and_command_line_need(make_stack: MakeStack) -> None:
    stack = make_stack()
    stack.start()
    info = stack.info
    environment = info.environment()
    assert environment["FLOWSTATE_SUPABASE_URL"] == info.api_url
    assert environment["FLOWSTATE_SERVICE_KEY"] == info.secret_key
    assert json.loads(environment["FLOWSTATE_INSTANCE_KEYS"]) == info.instance_keys
    assert environment["FLOWSTATE_EXEC_HOSTS"] == f"127.0.0.1:{info.ports['simulator_port']}"
