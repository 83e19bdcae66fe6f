"""A migrated stack with a few more objects to ask for, and clients that are closed after a test."""

import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass

import aiohttp
import httpx
import psycopg
import pytest
from supabase import AsyncClient, AsyncClientOptions, acreate_client

from flowstate_local import LocalStack, StackInfo

PASSWORD = "correct horse"

SCHEMA = """
create table public.notes (
    id bigint generated always as identity primary key,
    user_id uuid not null default auth.uid(),
    body text not null
);
alter table public.notes enable row level security;
grant select, insert on public.notes to authenticated, service_role;
create policy own_notes on public.notes to authenticated
    using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));

create function public.whoami() returns text language sql stable as 'select auth.role()';
create function public.too_many() returns void language plpgsql as $$ begin
    raise sqlstate 'PGRST' using
        message = '{"code": "PT429", "message": "slow down"}',
        detail = '{"status": 429, "headers": {"Retry-After": "7"}}';
end $$;
create function public.wait(seconds float) returns void language sql as 'select pg_sleep(seconds)';
create function public.request_headers() returns jsonb language sql stable
    as 'select current_setting(''request.headers'')::jsonb';
grant execute on function public.whoami(), public.too_many(), public.wait(float),
    public.request_headers() to anon, authenticated, service_role;

-- On `user:<id>` the migrations let its user receive; a room of one's own takes messages as well.
create policy own_room on realtime.messages for select to authenticated
    using (realtime.topic() = 'room:' || auth.uid());
create policy into_own_room on realtime.messages for insert to authenticated
    with check (realtime.topic() = 'room:' || auth.uid());
"""


@pytest.fixture(scope="session")
def stack() -> Iterator[LocalStack]:
    """One stack for all tests here; a test that stops a part starts it again."""
    parts = ("postgres", "postgrest", "functions", "gateway")
    with LocalStack.throw_away(components=parts) as started:
        started.push_migrations()
        with psycopg.connect(started.info.admin_db_url, autocommit=True) as connection:
            connection.execute(SCHEMA)
        started.reload_schema()
        yield started


@pytest.fixture
def info(stack: LocalStack) -> StackInfo:
    return stack.info


@pytest.fixture
def database(info: StackInfo) -> Iterator[psycopg.Connection]:
    with psycopg.connect(info.admin_db_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


MakeClient = Callable[..., Awaitable[AsyncClient]]


@pytest.fixture
async def make_client(info: StackInfo) -> AsyncIterator[MakeClient]:
    """Makes supabase-py clients, by default with the publishable key."""
    async with contextlib.AsyncExitStack() as cleanup:

        async def make(
            key: str | None = None,
            *,
            url: str | None = None,
            headers: dict[str, str] | None = None,
        ) -> AsyncClient:
            session = await cleanup.enter_async_context(httpx.AsyncClient())
            options = AsyncClientOptions(
                auto_refresh_token=False,
                persist_session=False,
                httpx_client=session,
                headers=headers or {},
            )
            client = await acreate_client(url or info.api_url, key or info.publishable_key, options)
            cleanup.push_async_callback(client.realtime.close)
            return client

        yield make


@pytest.fixture
async def client(make_client: MakeClient) -> AsyncClient:
    """A client that nobody has signed in with yet."""
    return await make_client()


@pytest.fixture
async def admin(make_client: MakeClient, info: StackInfo) -> AsyncClient:
    return await make_client(info.secret_key)


@dataclass(frozen=True)
class Person:
    """A client and the user who has signed up with it."""

    client: AsyncClient
    id: str
    email: str
    access_token: str
    refresh_token: str


SignUp = Callable[[], Awaitable[Person]]


@pytest.fixture
def sign_up(make_client: MakeClient) -> SignUp:
    """Signs up a new person with PASSWORD."""

    async def make() -> Person:
        client = await make_client()
        email = new_email()
        answer = await client.auth.sign_up({"email": email, "password": PASSWORD})
        assert answer.user is not None
        assert answer.session is not None
        session = answer.session
        return Person(client, answer.user.id, email, session.access_token, session.refresh_token)

    return make


def new_email() -> str:
    return f"{secrets.token_hex(6)}@example.com"
