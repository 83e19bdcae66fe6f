"""`/auth/v1/admin/users`, through supabase-py with the secret key."""

import uuid

import aiohttp
import bcrypt
import psycopg
import pytest
from supabase import AsyncClient
from supabase_auth.errors import AuthApiError

from flowstate_local import StackInfo

from .conftest import PASSWORD, MakeClient, SignUp, new_email


async def test_an_administrator_makes_users_who_can_sign_in(
    admin: AsyncClient, client: AsyncClient
) -> None:
    email, user_id = new_email(), str(uuid.uuid4())
    made = await admin.auth.admin.create_user(
        {
            "id": user_id,
            "email": email,
            "password": PASSWORD,
            "email_confirm": True,
            "user_metadata": {"name": "Ada"},
            "app_metadata": {"plan": "pro"},
        }
    )
    assert made.user.id == user_id
    signed_in = await client.auth.sign_in_with_password({"email": email, "password": PASSWORD})
    assert signed_in.user is not None
    assert signed_in.user.user_metadata == {"name": "Ada"}
    assert signed_in.user.app_metadata["plan"] == "pro"


async def test_an_unconfirmed_user_cannot_sign_in_until_confirmed(
    admin: AsyncClient, client: AsyncClient
) -> None:
    email = new_email()
    made = await admin.auth.admin.create_user({"email": email, "password": PASSWORD})
    with pytest.raises(AuthApiError) as refused:
        await client.auth.sign_in_with_password({"email": email, "password": PASSWORD})
    assert refused.value.code == "email_not_confirmed"
    await admin.auth.admin.update_user_by_id(made.user.id, {"email_confirm": True})
    await client.auth.sign_in_with_password({"email": email, "password": PASSWORD})


async def test_an_imported_password_hash_works(admin: AsyncClient, client: AsyncClient) -> None:
    # as another Auth would have stored it, at a higher cost
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(6)).decode()
    email = new_email()
    await admin.auth.admin.create_user(
        {"email": email, "password_hash": hashed, "email_confirm": True}
    )
    await client.auth.sign_in_with_password({"email": email, "password": PASSWORD})


async def test_an_address_or_id_that_is_taken_is_refused(
    admin: AsyncClient, sign_up: SignUp
) -> None:
    person = await sign_up()
    with pytest.raises(AuthApiError) as refused:
        await admin.auth.admin.create_user({"email": person.email, "password": PASSWORD})
    assert (refused.value.status, refused.value.code) == (422, "email_exists")
    with pytest.raises(AuthApiError) as refused:
        await admin.auth.admin.create_user({"id": person.id, "email": new_email()})
    assert (refused.value.status, refused.value.code) == (422, "conflict")
    other = await sign_up()
    with pytest.raises(AuthApiError) as refused:
        await admin.auth.admin.update_user_by_id(other.id, {"email": person.email})
    assert refused.value.code == "email_exists"


async def test_users_are_listed_in_pages(
    admin: AsyncClient, http: aiohttp.ClientSession, info: StackInfo, sign_up: SignUp
) -> None:
    made = {(await sign_up()).id for _ in range(3)}
    pages = [await admin.auth.admin.list_users(page=page, per_page=2) for page in (1, 2)]
    assert [len(page) for page in pages] == [2, 2]
    listed = [user.id for page in pages for user in page]
    assert len(set(listed)) == 4
    assert made <= set(listed)

    url = f"{info.api_url}/auth/v1/admin/users?page=1&per_page=2"
    async with http.get(url, headers={"apikey": info.secret_key}) as answer:
        assert int(answer.headers["X-Total-Count"]) >= 3
        assert 'page=2&per_page=2>; rel="next"' in answer.headers["Link"]
    async with http.get(url + "0000", headers={"apikey": info.secret_key}) as answer:
        assert answer.status == 400


async def test_a_banned_user_is_refused_everywhere_until_the_ban_is_lifted(
    admin: AsyncClient, sign_up: SignUp, client: AsyncClient
) -> None:
    person = await sign_up()
    credentials = {"email": person.email, "password": PASSWORD}
    await admin.auth.admin.update_user_by_id(person.id, {"ban_duration": "1h30m"})
    for attempt in (
        lambda: client.auth.sign_in_with_password(credentials),  # type: ignore[arg-type]
        lambda: client.auth.refresh_session(person.refresh_token),
        lambda: client.auth.get_user(person.access_token),
    ):
        with pytest.raises(AuthApiError) as refused:
            await attempt()
        assert refused.value.code == "user_banned"
    with pytest.raises(AuthApiError, match="ban duration"):
        await admin.auth.admin.update_user_by_id(person.id, {"ban_duration": "soon"})
    await admin.auth.admin.update_user_by_id(person.id, {"ban_duration": "none"})
    await client.auth.sign_in_with_password(credentials)  # type: ignore[arg-type]


@pytest.mark.parametrize("soft", [False, True])
async def test_a_deleted_user_is_refused_everywhere(
    admin: AsyncClient, sign_up: SignUp, client: AsyncClient, soft: bool
) -> None:
    person = await sign_up()
    await admin.auth.admin.delete_user(person.id, soft)
    with pytest.raises(AuthApiError, match="Invalid login credentials"):
        await client.auth.sign_in_with_password({"email": person.email, "password": PASSWORD})
    with pytest.raises(AuthApiError):
        await client.auth.refresh_session(person.refresh_token)
    with pytest.raises(AuthApiError) as refused:
        await client.auth.get_user(person.access_token)
    assert refused.value.code == "user_not_found"
    await client.auth.sign_up({"email": person.email, "password": PASSWORD})


async def test_a_trigger_that_refuses_a_deletion_is_heard_and_nothing_is_gone(
    admin: AsyncClient, sign_up: SignUp, database: psycopg.Connection
) -> None:
    person = await sign_up()
    database.execute(
        """create function public.keep() returns trigger language plpgsql as $$ begin
               raise sqlstate 'PT409' using message = 'still running', hint = 'try again later';
           end $$"""
    )
    # After the row and all that hangs on it went, so that there is something to undo.
    database.execute(
        """create constraint trigger keep after delete on auth.users
               for each row execute function public.keep()"""
    )
    try:
        with pytest.raises(AuthApiError, match="still running") as refused:
            await admin.auth.admin.delete_user(person.id)
    finally:
        database.execute("drop function public.keep() cascade")
    assert (refused.value.status, refused.value.code) == (409, "PT409")
    answer = await person.client.auth.get_user()
    assert answer is not None
    await person.client.auth.refresh_session()
    await admin.auth.admin.delete_user(person.id)


async def test_auth_may_do_nothing_outside_its_schema(
    admin: AsyncClient, database: psycopg.Connection
) -> None:
    database.execute(
        """create function public.note() returns trigger language plpgsql as $$ begin
               insert into public.notes (user_id, body) values (new.id, 'new'); return new;
           end $$"""
    )
    database.execute(
        "create trigger note after insert on auth.users for each row execute function public.note()"
    )
    try:
        email = new_email()
        with pytest.raises(AuthApiError) as refused:
            await admin.auth.admin.create_user({"email": email, "password": PASSWORD})
        assert refused.value.status == 500
        # As hosted, such a trigger's function runs as its owner.
        database.execute("alter function public.note() security definer")
        await admin.auth.admin.create_user({"email": email, "password": PASSWORD})
    finally:
        database.execute("drop function public.note() cascade")


async def test_a_row_marked_as_deleted_cannot_sign_in_whoever_marked_it(
    sign_up: SignUp, client: AsyncClient, database: psycopg.Connection
) -> None:
    person = await sign_up()
    database.execute("update auth.users set deleted_at = now() where id = %s", (person.id,))
    with pytest.raises(AuthApiError, match="Invalid login credentials"):
        await client.auth.sign_in_with_password({"email": person.email, "password": PASSWORD})


async def test_a_soft_deleted_row_keeps_nothing_of_the_person(
    admin: AsyncClient, sign_up: SignUp, database: psycopg.Connection
) -> None:
    person = await sign_up()
    await person.client.auth.update_user({"data": {"name": "Ada"}})
    await admin.auth.admin.delete_user(person.id, True)
    row = database.execute(
        "select u::text from auth.users u where id = %s", (person.id,)
    ).fetchone()
    assert row is not None
    assert person.email not in row[0]
    assert "Ada" not in row[0]


async def test_a_new_password_from_the_administrator_ends_all_sessions(
    admin: AsyncClient, sign_up: SignUp
) -> None:
    person = await sign_up()
    await admin.auth.admin.update_user_by_id(person.id, {"password": "new horse"})
    with pytest.raises(AuthApiError):
        await person.client.auth.get_user()


async def test_only_the_service_role_administers(
    make_client: MakeClient, sign_up: SignUp, info: StackInfo, http: aiohttp.ClientSession
) -> None:
    person = await sign_up()
    with pytest.raises(AuthApiError) as refused:
        await (await make_client(info.anon_key)).auth.admin.list_users()
    assert (refused.value.status, refused.value.code) == (403, "not_admin")
    # Neither a user's token, nor one together with the secret key: the bearer decides.
    for key in (info.publishable_key, info.secret_key):
        headers = {"apikey": key, "Authorization": f"Bearer {person.access_token}"}
        async with http.delete(
            f"{info.api_url}/auth/v1/admin/users/{person.id}", headers=headers
        ) as answer:
            assert answer.status == 403


async def test_an_unknown_user_is_404(admin: AsyncClient) -> None:
    with pytest.raises(AuthApiError) as refused:
        await admin.auth.admin.get_user_by_id(str(uuid.uuid4()))
    assert (refused.value.status, refused.value.code) == (404, "user_not_found")
