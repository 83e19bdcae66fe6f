"""Where the tests' database comes from: the embedded stack, or containers.

FLOWSTATE_TEST_STACK is `embedded` (default) or `containers`: the plain Postgres image with the same
bootstrap scripts, and PostgREST's image. Without a usable Docker the tests that need them are
skipped. FLOWSTATE_TEST_POSTGRES_IMAGE and FLOWSTATE_TEST_POSTGREST_IMAGE name other images.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from flowstate_local import LocalStack
from flowstate_local.keys import Keys, make_keys
from flowstate_local.migrations import run_cli, wait_until_served
from flowstate_local.postgres.preparation import bootstrap
from flowstate_local.processes import wait_for
from flowstate_local.project import project_root

if TYPE_CHECKING:
    from testcontainers.core.network import Network

_POSTGRES_IMAGE = "postgres:17"
_POSTGREST_IMAGE = "postgrest/postgrest:v12.2.12"


@dataclass(frozen=True)
class Database:
    """A migrated database behind PostgREST, wherever it runs."""

    url: str
    admin_url: str
    postgrest_url: str
    service_role_key: str
    jwt_secret: str
    stack: LocalStack | None
    """The embedded stack around it."""


def open_database() -> AbstractContextManager[Database]:
    """The database that FLOWSTATE_TEST_STACK asks for."""
    kind = os.environ.get("FLOWSTATE_TEST_STACK", "embedded")
    if kind == "embedded":
        return _embedded()
    if kind == "containers":
        return _containers()
    raise pytest.UsageError(f"FLOWSTATE_TEST_STACK={kind}: it is `embedded` or `containers`")


@contextmanager
def _embedded() -> Iterator[Database]:
    with LocalStack.throw_away(components=("postgres", "postgrest")) as stack:
        stack.push_migrations()
        info = stack.info
        yield Database(
            url=info.db_url,
            admin_url=info.admin_db_url,
            postgrest_url=info.postgrest_url,
            service_role_key=info.service_role_key,
            jwt_secret=info.jwt_secret,
            stack=stack,
        )


@contextmanager
def _containers() -> Iterator[Database]:
    _skip_without_docker()
    from testcontainers.core.network import Network

    keys = make_keys()
    with Network() as network, _postgres(keys, network) as (url, admin_url):
        with psycopg.connect(admin_url, autocommit=True) as connection:
            bootstrap(connection, keys)
        with tempfile.TemporaryDirectory() as home, _postgrest(keys, network) as postgrest_url:
            run_cli(["db", "push"], url, workdir=project_root(), home=Path(home))
            wait_until_served(admin_url, postgrest_url, keys.service_role_key)
            yield Database(
                url=url,
                admin_url=admin_url,
                postgrest_url=postgrest_url,
                service_role_key=keys.service_role_key,
                jwt_secret=keys.jwt_secret,
                stack=None,
            )


def _skip_without_docker() -> None:
    reason = "FLOWSTATE_TEST_STACK=containers needs Docker, which "
    if shutil.which("docker") is None:
        pytest.skip(reason + "is not installed")
    asked = subprocess.run(["docker", "info"], capture_output=True, text=True, check=False)
    if asked.returncode != 0:
        pytest.skip(reason + f"does not answer: {asked.stderr.strip()[-200:]}")


@contextmanager
def _postgres(keys: Keys, network: Network) -> Iterator[tuple[str, str]]:
    """The addresses for `postgres` and for the superuser."""
    from testcontainers.core.container import DockerContainer

    image = os.environ.get("FLOWSTATE_TEST_POSTGRES_IMAGE", _POSTGRES_IMAGE)
    container = (
        DockerContainer(image)
        .with_env("POSTGRES_USER", "supabase_admin")
        .with_env("POSTGRES_PASSWORD", keys.admin_password)
        .with_env("POSTGRES_DB", "postgres")
        .with_command("-c wal_level=logical -c fsync=off")
        .with_network(network)
        .with_network_aliases("db")
        .with_exposed_ports(5432)
    )
    with container:
        address = f"{container.get_container_host_ip()}:{container.get_exposed_port(5432)}/postgres"
        admin_url = f"postgresql://supabase_admin:{keys.admin_password}@{address}"
        # While the image sets itself up it listens on no TCP port.
        if not wait_for(lambda: _answers(admin_url), seconds=120):
            pytest.fail(f"{image} did not accept connections within 120 s")
        yield f"postgresql://postgres:{keys.postgres_password}@{address}", admin_url


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True


@contextmanager
def _postgrest(keys: Keys, network: Network) -> Iterator[str]:
    from testcontainers.core.container import DockerContainer

    image = os.environ.get("FLOWSTATE_TEST_POSTGREST_IMAGE", _POSTGREST_IMAGE)
    login = f"authenticator:{keys.authenticator_password}"
    container = (
        DockerContainer(image)
        .with_env("PGRST_DB_URI", f"postgresql://{login}@db:5432/postgres")
        .with_env("PGRST_DB_SCHEMAS", "public,graphql_public")
        .with_env("PGRST_DB_EXTRA_SEARCH_PATH", "public,extensions")
        .with_env("PGRST_DB_ANON_ROLE", "anon")
        .with_env("PGRST_DB_MAX_ROWS", "1000")
        .with_env("PGRST_JWT_SECRET", keys.jwt_secret)
        .with_env("PGRST_JWT_AUD", "authenticated")
        .with_network(network)
        .with_exposed_ports(3000)
    )
    with container:
        yield f"http://{container.get_container_host_ip()}:{container.get_exposed_port(3000)}"
