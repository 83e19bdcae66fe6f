"""A bootstrapped cluster is what migrations expect of a hosted project: no less, and no more."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator

import psycopg
import pytest

from flowstate_local import LocalStack

API_ROLES = ("anon", "authenticated", "service_role")


@pytest.fixture(scope="module")
def plain() -> Iterator[LocalStack]:
    """A stack without any migration."""
    with LocalStack.throw_away(components=("postgres",)) as stack:
        yield stack


@pytest.fixture
def admin(plain: LocalStack) -> Iterator[psycopg.Connection]:
    """The superuser; what a test did is rolled back."""
    with psycopg.connect(plain.info.admin_db_url) as connection:
        yield connection
        connection.rollback()


@pytest.fixture
def postgres(plain: LocalStack) -> Iterator[psycopg.Connection]:
    """The role that migrations run as; what a test did is rolled back."""
    with psycopg.connect(plain.info.db_url) as connection:
        yield connection
        connection.rollback()


def _all(connection: psycopg.Connection, query: str) -> list[tuple[object, ...]]:
    return connection.execute(query.encode()).fetchall()


def test_roles_have_the_attributes_of_hosted_ones(admin: psycopg.Connection) -> None:
    rows = _all(
        admin,
        "select rolname, rolcanlogin, rolsuper, rolinherit, rolbypassrls, rolcreatedb,"
        " rolcreaterole, rolreplication from pg_roles where rolname !~ '^pg_'",
    )
    attributes = ("login", "superuser", "inherit", "bypassrls", "createdb", "createrole", "repl")
    found = {
        row[0]: {name for name, has in zip(attributes, row[1:], strict=True) if has} for row in rows
    }
    assert found == {
        "anon": set(),
        "authenticated": set(),
        "service_role": {"bypassrls"},
        "authenticator": {"login"},
        "postgres": {"login", "inherit", "bypassrls", "createdb", "createrole", "repl"},
        "supabase_admin": set(attributes),
        "supabase_auth_admin": {"login"},
        "supabase_realtime_admin": set(),
        "dashboard_user": {"inherit", "createdb", "createrole", "repl"},
    }


def test_memberships_are_the_hosted_ones(admin: psycopg.Connection) -> None:
    rows = _all(
        admin,
        "select member::regrole::text, roleid::regrole::text, bool_or(admin_option)"
        " from pg_auth_members where roleid::regrole::text !~ '^pg_' group by 1, 2",
    )
    assert set(rows) == {
        *(("authenticator", role, False) for role in API_ROLES),
        *(("postgres", role, True) for role in API_ROLES),
        ("postgres", "supabase_realtime_admin", False),
    }


def test_settings_of_roles_are_the_hosted_ones(admin: psycopg.Connection) -> None:
    rows = _all(
        admin,
        "select setrole::regrole::text, unnest(setconfig) from pg_db_role_setting"
        " where setrole <> 0 and setrole::regrole::text in"
        " ('anon', 'authenticated', 'authenticator', 'service_role', 'postgres')",
    )
    assert set(rows) == {
        ("anon", "statement_timeout=3s"),
        ("authenticated", "statement_timeout=8s"),
        ("authenticator", "statement_timeout=8s"),
        ("authenticator", "lock_timeout=8s"),
        ("postgres", 'search_path="$user", public, extensions'),
    }


def test_the_server_runs_with_what_supabase_needs(admin: psycopg.Connection) -> None:
    assert _all(admin, "show wal_level") == [("logical",)]
    assert _all(admin, "show listen_addresses") == [("127.0.0.1",)]
    assert _all(admin, "show password_encryption") == [("scram-sha-256",)]
    assert _all(admin, "show timezone") == [("UTC",)]


def test_nobody_comes_in_without_the_password(plain: LocalStack) -> None:
    info = plain.info
    for url in (info.db_url, info.admin_db_url):
        password = psycopg.conninfo.conninfo_to_dict(url)["password"]
        for wrong in ("", "postgres"):
            with pytest.raises(psycopg.OperationalError, match="password"):
                psycopg.connect(url.replace(f":{password}@", f":{wrong}@"), connect_timeout=5)


@pytest.mark.parametrize("role", API_ROLES)
def test_a_new_table_is_not_granted_to_the_api(postgres: psycopg.Connection, role: str) -> None:
    postgres.execute("create table public.fresh (id int)")
    rows = _all(
        postgres,
        "select privilege_type from information_schema.role_table_grants"
        f" where table_name = 'fresh' and grantee = '{role}'",
    )
    # What the hosted defaults leave behind: nothing that the API has a verb for.
    assert {row[0] for row in rows} == {"TRUNCATE", "REFERENCES", "TRIGGER"}


def test_migrations_may_use_auth_users_but_make_nothing_in_auth(
    postgres: psycopg.Connection,
) -> None:
    postgres.execute("create table public.mine (user_id uuid references auth.users (id))")
    postgres.execute(
        "create function public.on_user() returns trigger language plpgsql"
        " as 'begin insert into public.mine values (new.id); return new; end'"
    )
    postgres.execute(
        "create trigger on_user after insert on auth.users"
        " for each row execute function public.on_user()"
    )
    user = uuid.uuid4()
    postgres.execute("insert into auth.users (id, email) values (%s, 'a@example.com')", (user,))
    postgres.execute("update auth.users set email = 'b@example.com' where id = %s", (user,))
    assert postgres.execute("select user_id from public.mine").fetchall() == [(user,)]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        postgres.execute("create table auth.mine (id int)")


def test_migrations_may_let_auth_call_a_function_of_theirs(postgres: psycopg.Connection) -> None:
    postgres.execute("create function public.hook() returns int language sql return 1")
    postgres.execute("revoke execute on function public.hook() from public")
    postgres.execute("grant usage on schema public to supabase_auth_admin")
    postgres.execute("grant execute on function public.hook() to supabase_auth_admin")
    row = postgres.execute(
        "select has_function_privilege('supabase_auth_admin', 'public.hook()', 'execute'),"
        " has_schema_privilege('supabase_auth_admin', 'public', 'usage'),"
        " has_function_privilege('anon', 'public.hook()', 'execute')"
    ).fetchone()
    assert row == (True, True, False)


@pytest.mark.parametrize("role", API_ROLES)
def test_the_api_roles_see_no_users(admin: psycopg.Connection, role: str) -> None:
    admin.execute(f"set local role {role}".encode())
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        admin.execute("select from auth.users")


def test_claims_are_read_from_the_request(admin: psycopg.Connection) -> None:
    user = uuid.uuid4()
    claims = json.dumps({"sub": str(user), "role": "authenticated", "email": "a@example.com"})
    admin.execute("select set_config('request.jwt.claims', %s, true)", (claims,))
    row = admin.execute("select auth.uid(), auth.role(), auth.email(), auth.jwt()").fetchone()
    assert row == (user, "authenticated", "a@example.com", json.loads(claims))


@pytest.mark.parametrize("empty", [None, ""])
def test_without_claims_nobody_is_asking(admin: psycopg.Connection, empty: str | None) -> None:
    if empty is not None:  # what the setting reads as after a transaction that set it
        admin.execute("select set_config('request.jwt.claims', '', true)")
    row = admin.execute("select auth.uid(), auth.role(), auth.email(), auth.jwt()").fetchone()
    assert row == (None, None, None, None)


def test_extensions_live_in_their_own_schema(admin: psycopg.Connection) -> None:
    rows = _all(
        admin,
        "select extname from pg_extension where extnamespace <> 'extensions'::regnamespace",
    )
    assert rows == [("plpgsql",)]


def test_the_realtime_publication_is_there_and_takes_tables(postgres: psycopg.Connection) -> None:
    postgres.execute("create table public.watched (id int primary key)")
    postgres.execute("alter publication supabase_realtime add table public.watched")
    assert _all(postgres, "select tablename from pg_publication_tables") == [("watched",)]


def test_storage_and_vault_are_absent(admin: psycopg.Connection) -> None:
    assert _all(admin, "select to_regnamespace('storage'), to_regnamespace('vault')") == [
        (None, None)
    ]
