"""`/auth/v1/admin/users`: the project's administrator makes, lists, changes and deletes users."""

import uuid
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from ..database import Cursor
from . import bodies, passwords, sessions, users
from .callers import require_admin
from .errors import AuthError, email_taken, validation_failed
from .transactions import transaction

PREFIX = "/auth/v1/admin/users"

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 1000


def add_routes(router: web.UrlDispatcher) -> None:
    router.add_post(PREFIX, create)
    router.add_get(PREFIX, list_page)
    router.add_get(PREFIX + "/{user_id}", get)
    router.add_put(PREFIX + "/{user_id}", update)
    router.add_delete(PREFIX + "/{user_id}", delete)


async def create(request: web.Request) -> web.Response:
    """Make a user without signing them in; without `email_confirm` they cannot sign in yet."""
    require_admin(request)
    body = await bodies.read(request, bodies.AdminUser)
    if not body.email:
        raise validation_failed("Cannot create a user without an email")
    password_hash = body.password_hash
    if body.password is not None:
        passwords.check(body.password)
        password_hash = await passwords.hash_password(body.password)
    async with transaction(request) as cursor:
        if await users.by_email(cursor, body.email):
            raise email_taken()
        user = await users.create(
            cursor,
            email=body.email,
            password_hash=password_hash,
            confirmed=body.email_confirm,
            user_metadata=body.user_metadata or {},
            app_metadata=body.app_metadata or {},
            role=body.role or "authenticated",
            user_id=_uuid(body.id, "id") if body.id else None,
        )
        if ban := body.ban():
            user = await users.update(cursor, user["id"], {"banned_until": datetime.now(UTC) + ban})
    return web.json_response(users.view(user))


async def list_page(request: web.Request) -> web.Response:
    """One page, newest first; `page` counts from 1, `per_page` is 1 to 1000 (50)."""
    require_admin(request)
    number = _count(request, "page", default=1, most=1_000_000)
    size = _count(request, "per_page", default=DEFAULT_PAGE_SIZE, most=MAX_PAGE_SIZE)
    async with transaction(request) as cursor:
        rows, total = await users.page(cursor, number=number, size=size)
    last = max(1, -(-total // size))
    links = [f'<{PREFIX}?page={last}&per_page={size}>; rel="last"']
    if number < last:
        links.insert(0, f'<{PREFIX}?page={number + 1}&per_page={size}>; rel="next"')
    return web.json_response(
        {"users": [users.view(row) for row in rows], "aud": "authenticated"},
        headers={"X-Total-Count": str(total), "Link": ", ".join(links)},
    )


async def get(request: web.Request) -> web.Response:
    require_admin(request)
    async with transaction(request) as cursor:
        user = await _addressed_user(request, cursor)
    return web.json_response(users.view(user))


async def update(request: web.Request) -> web.Response:
    """Change what is given; metadata is merged key by key, null takes a key out."""
    require_admin(request)
    body = await bodies.read(request, bodies.AdminUser)
    async with transaction(request) as cursor:
        user = await _addressed_user(request, cursor)
        changes = _plain_changes(body, user)
        if body.email is not None and body.email != user["email"]:
            if await users.by_email(cursor, body.email):
                raise email_taken()
            changes["email"] = body.email
        if body.password is not None:
            passwords.check(body.password)
            changes["encrypted_password"] = await passwords.hash_password(body.password)
            await sessions.end(cursor, user["id"], None, "global")
        updated = await users.update(cursor, user["id"], changes)
    return web.json_response(users.view(updated))


async def delete(request: web.Request) -> web.Response:
    """Delete a user; with `should_soft_delete` the emptied row stays, so that its id does."""
    require_admin(request)
    body = await bodies.read(request, bodies.AdminDelete)
    async with transaction(request) as cursor:
        user = await _addressed_user(request, cursor)
        await users.remove(cursor, user["id"], soft=body.should_soft_delete)
    return web.json_response({})


def _plain_changes(body: bodies.AdminUser, user: users.Row) -> dict[str, Any]:
    now = datetime.now(UTC)
    changes: dict[str, Any] = {}
    if body.role:
        changes["role"] = body.role
    if body.password_hash:
        changes["encrypted_password"] = body.password_hash
    if body.email_confirm and user["email_confirmed_at"] is None:
        changes["email_confirmed_at"] = now
    if body.user_metadata is not None:
        changes["raw_user_meta_data"] = users.merged(user["raw_user_meta_data"], body.user_metadata)
    if body.app_metadata is not None:
        changes["raw_app_meta_data"] = users.merged(user["raw_app_meta_data"], body.app_metadata)
    ban = body.ban()
    if ban is not None:
        changes["banned_until"] = now + ban if ban else None
    return changes


async def _addressed_user(request: web.Request, cursor: Cursor) -> users.Row:
    user = await users.by_id(cursor, _uuid(request.match_info["user_id"], "user_id"))
    if user is None:
        raise AuthError(404, "user_not_found", "User not found")
    return user


def _uuid(value: str, field: str) -> str:
    try:
        return str(uuid.UUID(value))
    except ValueError as error:
        raise AuthError(404, "validation_failed", f"{field} must be an UUID") from error


def _count(request: web.Request, name: str, *, default: int, most: int) -> int:
    """A positive number from the query; absent or empty (supabase-py sends that) is the default."""
    given = request.query.get(name) or str(default)
    if not given.isascii() or not given.isdigit() or not 1 <= int(given) <= most:
        raise validation_failed(f"Bad Pagination Parameters: {name} must be 1 to {most}")
    return int(given)
