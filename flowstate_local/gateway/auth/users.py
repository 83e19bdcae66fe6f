"""Rows of auth.users, and how a user looks to a client."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from psycopg import errors as sql_errors
from psycopg.types.json import Jsonb

from ..database import Cursor
from .errors import AuthError, email_taken

Row = dict[str, Any]

COLUMNS = """id::text, aud, role, email, encrypted_password, email_confirmed_at, last_sign_in_at,
    raw_app_meta_data, raw_user_meta_data, is_anonymous, banned_until, deleted_at,
    created_at, updated_at, coalesce(banned_until > clock_timestamp(), false) as is_banned"""


async def by_email(cursor: Cursor, email: str) -> Row | None:
    """The living user with this address, whatever the case of its letters."""
    await cursor.execute(
        f"select {COLUMNS} from auth.users where email = lower(%s) and deleted_at is null",
        (email,),
    )
    return await cursor.fetchone()


async def by_id(cursor: Cursor, user_id: str) -> Row | None:
    """The user with this id, soft-deleted ones included; `user_id` must be a UUID."""
    await cursor.execute(f"select {COLUMNS} from auth.users where id = %s", (user_id,))
    return await cursor.fetchone()


async def page(cursor: Cursor, *, number: int, size: int) -> tuple[list[Row], int]:
    """One page of users, newest first, and how many there are; pages count from 1."""
    await cursor.execute(
        f"""select {COLUMNS}, count(*) over () as total from auth.users
            order by created_at desc, id limit %s offset %s""",
        (size, (number - 1) * size),
    )
    rows = await cursor.fetchall()
    return rows, int(rows[0]["total"]) if rows else 0


async def create(
    cursor: Cursor,
    *,
    email: str,
    password_hash: str | None,
    confirmed: bool,
    user_metadata: Mapping[str, Any],
    app_metadata: Mapping[str, Any],
    role: str = "authenticated",
    user_id: str | None = None,
) -> Row:
    """Insert a user.

    Raises:
        AuthError: `email_exists`, or `conflict` when the given id is taken.
    """
    providers = {"provider": "email", "providers": ["email"]}
    try:
        await cursor.execute(
            f"""insert into auth.users (id, aud, role, email, encrypted_password,
                    email_confirmed_at, raw_app_meta_data, raw_user_meta_data,
                    created_at, updated_at)
                values (coalesce(%(id)s::uuid, gen_random_uuid()), 'authenticated', %(role)s,
                    lower(%(email)s), %(password_hash)s,
                    case when %(confirmed)s then clock_timestamp() end,
                    %(app_metadata)s, %(user_metadata)s, clock_timestamp(), clock_timestamp())
                returning {COLUMNS}""",
            {
                "id": user_id,
                "role": role,
                "email": email,
                "password_hash": password_hash,
                "confirmed": confirmed,
                "app_metadata": Jsonb({**providers, **app_metadata}),
                "user_metadata": Jsonb(dict(user_metadata)),
            },
        )
    except sql_errors.UniqueViolation as error:
        if error.diag.constraint_name == "users_pkey":
            raise AuthError(422, "conflict", "A user with this id already exists") from error
        raise email_taken() from error
    row = await cursor.fetchone()
    assert row is not None
    return row


async def update(cursor: Cursor, user_id: str, changes: Mapping[str, Any]) -> Row:
    """Set columns of one user; dicts are stored as jsonb.

    `changes` names columns of auth.users and comes from this package's code, never from a request.

    Raises:
        AuthError: `email_exists` when the new address is another user's.
    """
    values = {k: Jsonb(v) if isinstance(v, dict) else v for k, v in changes.items()}
    assignments = "".join(f"{column} = %({column})s, " for column in values)
    try:
        await cursor.execute(
            f"""update auth.users set {assignments} updated_at = clock_timestamp()
                where id = %(_id)s returning {COLUMNS}""",
            {**values, "_id": user_id},
        )
    except sql_errors.UniqueViolation as error:
        raise email_taken() from error
    row = await cursor.fetchone()
    assert row is not None
    return row


async def remove(cursor: Cursor, user_id: str, *, soft: bool) -> None:
    """Delete a user, or (soft) keep the row without address, password and metadata."""
    if not soft:
        await cursor.execute("delete from auth.users where id = %s", (user_id,))
        return
    await cursor.execute("delete from auth.sessions where user_id = %s", (user_id,))
    await cursor.execute(
        """update auth.users set deleted_at = coalesce(deleted_at, clock_timestamp()),
               email = encode(sha256(convert_to(id::text || coalesce(email, ''), 'utf8')), 'hex'),
               encrypted_password = '', raw_user_meta_data = '{}', raw_app_meta_data = '{}',
               updated_at = clock_timestamp()
           where id = %s""",
        (user_id,),
    )


def merged(stored: Mapping[str, Any] | None, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata after an update: keys set to null are taken out, the others are laid over."""
    both = {**(stored or {}), **changes}
    return {key: value for key, value in both.items() if value is not None}


def view(row: Row) -> dict[str, Any]:
    """The user object of the API, without the password."""
    confirmed_at = _moment(row["email_confirmed_at"])
    created_at, updated_at = _moment(row["created_at"]), _moment(row["updated_at"])
    last_sign_in_at = _moment(row["last_sign_in_at"])
    verified = confirmed_at is not None
    # Local users have exactly one identity, their address: derived, not stored.
    identity = {
        "identity_id": row["id"],
        "id": row["id"],
        "user_id": row["id"],
        "identity_data": {"sub": row["id"], "email": row["email"], "email_verified": verified},
        "provider": "email",
        "email": row["email"],
        "created_at": created_at,
        "updated_at": updated_at,
        "last_sign_in_at": last_sign_in_at,
    }
    user = {
        "id": row["id"],
        "aud": row["aud"],
        "role": row["role"],
        "email": row["email"],
        "phone": "",
        "email_confirmed_at": confirmed_at,
        "confirmed_at": confirmed_at,
        "last_sign_in_at": last_sign_in_at,
        "app_metadata": row["raw_app_meta_data"] or {},
        "user_metadata": row["raw_user_meta_data"] or {},
        "identities": [identity],
        "is_anonymous": row["is_anonymous"],
        "created_at": created_at,
        "updated_at": updated_at,
    }
    for name in ("banned_until", "deleted_at"):
        if row[name] is not None:
            user[name] = _moment(row[name])
    return user


def _moment(value: datetime | None) -> str | None:
    return value.isoformat() if value else None
