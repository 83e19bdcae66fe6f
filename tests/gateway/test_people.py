"""A person's life with the product, through supabase-py: sign-up, tiers, devices, farewell."""

from typing import Any

import jwt
import psycopg
import pytest
from postgrest.exceptions import APIError
from supabase import AsyncClient
from supabase_auth.errors import AuthApiError

from .conftest import PASSWORD, MakeClient, Person, SignUp

FLOW = {
    "name": "unread",
    "definition": {
        "steps": [{"name": "find", "type": "gmail.search", "args": {"query": "is:unread"}}]
    },
}
FREE_HOUR_LIMIT = 5

OWNED_TABLES = """
select n.nspname || '.' || c.relname
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  join pg_attribute a on a.attrelid = c.oid and a.attname = 'user_id' and not a.attisdropped
 where n.nspname in ('public', 'private', 'auth') and c.relkind in ('r', 'p')
 order by 1
"""


async def sign_in(
    make_client: MakeClient, person: Person, headers: dict[str, str] | None = None
) -> AsyncClient:
    """The same person on another device."""
    client = await make_client(headers=headers)
    await client.auth.sign_in_with_password({"email": person.email, "password": PASSWORD})
    return client


async def claims_of(client: AsyncClient) -> dict[str, Any]:
    session = await client.auth.get_session()
    assert session is not None
    return dict(jwt.decode(session.access_token, options={"verify_signature": False}))


async def call(client: AsyncClient, name: str, **arguments: Any) -> Any:
    return (await client.rpc(name, arguments).execute()).data


async def rows(query: Any) -> list[dict[str, Any]]:
    return list((await query.execute()).data)


async def make_flow(client: AsyncClient) -> str:
    user_id = (await claims_of(client))["sub"]
    [flow] = await rows(client.table("flows").insert({**FLOW, "user_id": user_id}))
    return str(flow["id"])


async def refusal(client: AsyncClient, name: str, **arguments: Any) -> str | None:
    """The code that a call is refused with."""
    with pytest.raises(APIError) as refused:
        await call(client, name, **arguments)
    return refused.value.code


def rows_of(database: psycopg.Connection, user_id: str) -> dict[str, int]:
    """In how many rows of which tables a user is, by what the catalog knows."""
    counts = {}
    for (table,) in database.execute(OWNED_TABLES).fetchall():
        found = database.execute(
            f"select count(*) from {table} where user_id::text = %s".encode(), (user_id,)
        ).fetchone()
        assert found is not None
        counts[table] = found[0]
    return {table: count for table, count in counts.items() if count}


async def test_who_signs_up_is_on_the_free_tier_and_the_token_says_so(sign_up: SignUp) -> None:
    person = await sign_up()
    [profile] = await rows(person.client.table("user_profiles").select("*"))
    assert (profile["user_id"], profile["tier"], profile["role"]) == (person.id, "free", "user")
    claims = await claims_of(person.client)
    assert (claims["user_tier"], claims["user_role"]) == ("free", "user")
    assert claims["role"] == "authenticated"


async def test_nobody_promotes_themselves(sign_up: SignUp) -> None:
    person = await sign_up()
    wished = {"user_role": "owner", "user_tier": "enterprise", "role": "service_role"}
    await person.client.auth.update_user({"data": wished})
    await person.client.auth.refresh_session()
    claims = await claims_of(person.client)
    assert claims["user_metadata"] == wished
    assert (claims["user_role"], claims["user_tier"]) == ("user", "free")
    assert claims["role"] == "authenticated"

    tier = {"user_id": person.id, "tier": "enterprise"}
    assert await refusal(person.client, "set_user_tier", **tier) == "PT403"
    with pytest.raises(APIError, match="permission denied"):
        await rows(person.client.table("user_profiles").update(tier).eq("user_id", person.id))


async def test_a_new_tier_acts_at_once_and_shows_in_the_next_token(
    sign_up: SignUp, admin: AsyncClient
) -> None:
    person = await sign_up()
    flow = await make_flow(person.client)
    for _ in range(FREE_HOUR_LIMIT):
        await call(person.client, "enqueue_flow_execution", flow_id=flow)
    assert await refusal(person.client, "enqueue_flow_execution", flow_id=flow) == "PT429"

    await call(admin, "set_user_tier", user_id=person.id, tier="pro", reason="paid")
    assert (await claims_of(person.client))["user_tier"] == "free"
    await call(person.client, "enqueue_flow_execution", flow_id=flow)
    await person.client.auth.refresh_session()
    assert (await claims_of(person.client))["user_tier"] == "pro"

    # And down again: what the token says buys nothing.
    await call(admin, "set_user_tier", user_id=person.id, tier="free", reason="not paid")
    assert await refusal(person.client, "enqueue_flow_execution", flow_id=flow) == "PT429"


async def test_a_sign_in_that_was_revoked_elsewhere_cannot_refresh(
    sign_up: SignUp, make_client: MakeClient
) -> None:
    person = await sign_up()
    phone = await sign_in(make_client, person)
    listed = await rows(phone.table("user_sessions").select("*").order("created_at"))
    first = (await claims_of(person.client))["session_id"]
    assert [row["id"] for row in listed] == [first, (await claims_of(phone))["session_id"]]
    assert {row["address"] for row in listed} == {"127.0.0.1"}
    assert all("python" in row["device"] for row in listed)

    assert await call(phone, "revoke_session", session_id=first) == {"revoked": 1}
    with pytest.raises(AuthApiError) as refused:
        await person.client.auth.refresh_session(person.refresh_token)
    assert (refused.value.status, refused.value.code) == (400, "refresh_token_not_found")
    with pytest.raises(AuthApiError):
        await person.client.auth.get_user(person.access_token)
    await phone.auth.refresh_session()
    [ended] = await rows(phone.table("user_sessions").select("*").eq("id", first))
    assert ended["end_reason"] == "revoked"


async def test_a_person_sees_from_where_they_signed_in(
    sign_up: SignUp, make_client: MakeClient
) -> None:
    person = await sign_up()
    phone = await sign_in(make_client, person, {"X-Forwarded-For": "203.0.113.7, 198.51.100.2"})
    session_id = (await claims_of(phone))["session_id"]
    [listed] = await rows(phone.table("user_sessions").select("*").eq("id", session_id))
    assert listed["address"] == "203.0.113.7"
    trail = phone.table("user_activity_logs").select("*").eq("object_id", session_id)
    [started] = await rows(trail)
    assert (started["action"], started["actor"]) == ("session.started", "auth")
    assert started["address"] == "203.0.113.7"
    await call(phone, "revoke_session", session_id=session_id)
    [_, revoked] = await rows(trail.order("occurred_at"))
    assert (revoked["action"], revoked["address"]) == ("session.revoked", "203.0.113.7")


async def test_all_other_sign_ins_can_be_ended_at_once(
    sign_up: SignUp, make_client: MakeClient
) -> None:
    person = await sign_up()
    others = [await sign_in(make_client, person) for _ in range(2)]
    assert await call(person.client, "revoke_all_sessions") == {"revoked": 2}
    for other in others:
        with pytest.raises(AuthApiError):
            await other.auth.refresh_session()
    await person.client.auth.refresh_session()


async def test_a_sign_in_of_somebody_else_is_not_there(sign_up: SignUp) -> None:
    ada, ben = await sign_up(), await sign_up()
    session_id = (await claims_of(ada.client))["session_id"]
    assert await refusal(ben.client, "revoke_session", session_id=session_id) == "PT404"
    await ada.client.auth.refresh_session()


async def test_who_is_suspended_signs_in_and_reads_and_queues_nothing(
    sign_up: SignUp, make_client: MakeClient, admin: AsyncClient
) -> None:
    person = await sign_up()
    flow = await make_flow(person.client)
    queued = await call(person.client, "enqueue_flow_execution", flow_id=flow)
    await call(admin, "suspend_user", user_id=person.id, reason="chargeback")

    again = await sign_in(make_client, person)
    await again.auth.refresh_session()
    for client in (person.client, again):
        assert await refusal(client, "enqueue_flow_execution", flow_id=flow) == "PT403"
        [execution] = await rows(client.table("flow_executions").select("*"))
        assert execution["execution_id"] == queued["execution_id"]
        assert len(await rows(client.table("flows").select("id"))) == 1

    await call(admin, "resume_user", user_id=person.id)
    await call(again, "enqueue_flow_execution", flow_id=flow)


async def test_everything_that_is_kept_of_a_person_can_be_taken_along(
    sign_up: SignUp, make_client: MakeClient, database: psycopg.Connection
) -> None:
    person = await sign_up()
    await sign_in(make_client, person)
    flow = await make_flow(person.client)
    for _ in range(FREE_HOUR_LIMIT):
        await call(person.client, "enqueue_flow_execution", flow_id=flow)

    names = (await call(person.client, "export_user_data"))["datasets"]
    taken = {name: await export(person.client, name, size=2) for name in names}
    public = [each for each in rows_of(database, person.id) if each.startswith("public.")]
    assert len(public) >= 6
    assert len([name for name, found in taken.items() if found]) >= len(public)
    assert [row["id"] for row in taken["flows"]] == [flow]
    assert len(taken["queue"]) == FREE_HOUR_LIMIT
    assert len(taken["sign_ins"]) == 2
    for found in taken.values():
        assert all(row["user_id"] == person.id for row in found)


async def export(client: AsyncClient, dataset: str, *, size: int) -> list[dict[str, Any]]:
    """All rows of one dataset, page by page, none of them twice."""
    taken: list[dict[str, Any]] = []
    after = None
    while True:
        page = await call(client, "export_user_data", dataset=dataset, after=after, max=size)
        assert len(page["rows"]) <= size
        assert all(row not in taken for row in page["rows"])
        taken += page["rows"]
        after = page["next"]
        if after is None:
            return taken


async def test_who_was_deleted_is_nowhere_any_more(
    sign_up: SignUp, make_client: MakeClient, admin: AsyncClient, database: psycopg.Connection
) -> None:
    person = await sign_up()
    phone = await sign_in(make_client, person)
    flow = await make_flow(phone)
    await call(admin, "set_user_tier", user_id=person.id, tier="pro", reason="paid")
    for _ in range(3):
        await call(phone, "enqueue_flow_execution", flow_id=flow, idempotency_key="same")
    await call(admin, "suspend_user", user_id=person.id, reason="asked to go")
    await call(admin, "export_user_data", user_id=person.id)
    assert len(rows_of(database, person.id)) >= 10

    state = "ending"
    while state != "deleted":
        answer = await call(admin, "delete_user", user_id=person.id, reason="asked to go")
        assert answer["state"] in ("ending", "erasing", "deleted")
        state = answer["state"]

    assert rows_of(database, person.id) == {}
    for attempt in (
        sign_in(make_client, person),
        phone.auth.refresh_session(),
        phone.auth.get_user(),
    ):
        with pytest.raises(AuthApiError):
            await attempt
    # The token that is still out there finds nothing, and queues nothing.
    assert await rows(person.client.table("flows").select("id")) == []
    assert await refusal(person.client, "enqueue_flow_execution", flow_id=flow) == "PT404"
    await person.client.auth.sign_up({"email": person.email, "password": PASSWORD})
    assert (await claims_of(person.client))["sub"] != person.id


async def test_who_was_deleted_through_the_auth_api_is_nowhere_either(
    sign_up: SignUp, admin: AsyncClient, database: psycopg.Connection
) -> None:
    person = await sign_up()
    flow = await make_flow(person.client)
    await call(person.client, "enqueue_flow_execution", flow_id=flow)
    await admin.auth.admin.delete_user(person.id)
    # History is left to the housekeeping, in bounded steps.
    assert set(rows_of(database, person.id)) <= {
        "private.erasures",
        "public.rate_limit_tracking",
        "public.user_activity_logs",
    }
    database.execute("select private.erase_history(10000)")
    assert rows_of(database, person.id) == {}


async def test_who_is_being_deleted_gets_no_new_token(
    sign_up: SignUp, make_client: MakeClient, database: psycopg.Connection
) -> None:
    person = await sign_up()
    database.execute(
        "update public.user_profiles set deletion_requested_at = now() where user_id = %s",
        (person.id,),
    )
    for attempt in (sign_in(make_client, person), person.client.auth.refresh_session()):
        with pytest.raises(AuthApiError, match="being deleted") as refused:
            await attempt
        assert refused.value.status == 403
