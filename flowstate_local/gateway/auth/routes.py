"""`/auth/v1` for users: sign-up, the two token grants, their own user, sign-out."""

from typing import Any, cast, get_args

from aiohttp import web

from ..database import Cursor
from . import bodies, passwords, sessions, users
from .callers import ISSUER, signed_in_user
from .devices import Device
from .errors import AuthError, email_taken, invalid_credentials, validation_failed
from .transactions import transaction

SETTINGS = {
    "external": {"email": True, "phone": False, "anonymous_users": False},
    "disable_signup": False,
    "mailer_autoconfirm": True,
    "phone_autoconfirm": False,
    "sms_provider": "",
    "saml_enabled": False,
}


def add_routes(router: web.UrlDispatcher) -> None:
    router.add_get("/auth/v1/health", health)
    router.add_get("/auth/v1/settings", settings)
    router.add_post("/auth/v1/signup", sign_up)
    router.add_post("/auth/v1/token", token)
    router.add_get("/auth/v1/user", get_user)
    router.add_put("/auth/v1/user", update_user)
    router.add_post("/auth/v1/logout", logout)


async def health(_: web.Request) -> web.Response:
    return web.json_response({"name": "flowstate-local-auth", "version": "1"})


async def settings(_: web.Request) -> web.Response:
    return web.json_response(SETTINGS)


async def sign_up(request: web.Request) -> web.Response:
    """Create a user with an address and a password, and sign them in."""
    body = await bodies.read(request, bodies.SignUp)
    if not body.email or not body.password:
        raise validation_failed("Signup requires a valid email address and password")
    passwords.check(body.password)
    password_hash = await passwords.hash_password(body.password)
    async with transaction(request) as cursor:
        if await users.by_email(cursor, body.email):
            raise AuthError(422, "user_already_exists", "User already registered")
        user = await users.create(
            cursor,
            email=body.email,
            password_hash=password_hash,
            confirmed=True,
            user_metadata=body.data or {},
            app_metadata={},
        )
    # As hosted, in a transaction of its own: who is refused a token has signed up all the same.
    async with transaction(request) as cursor:
        session = await _start(request, cursor, user)
    return web.json_response(session)


async def token(request: web.Request) -> web.Response:
    """`grant_type=password` or `grant_type=refresh_token`."""
    match request.query.get("grant_type"):
        case "password":
            return web.json_response(await _password_grant(request))
        case "refresh_token":
            return web.json_response(await _refresh_grant(request))
    raise AuthError(400, "invalid_credentials", "unsupported_grant_type")


async def _password_grant(request: web.Request) -> dict[str, Any]:
    body = await bodies.read(request, bodies.PasswordGrant)
    async with transaction(request) as cursor:
        user = await users.by_email(cursor, body.email)
        if user is None or not await passwords.matches(body.password, user["encrypted_password"]):
            raise invalid_credentials()
        if user["is_banned"]:
            raise AuthError(400, "user_banned", "User is banned")
        if user["email_confirmed_at"] is None:
            raise AuthError(400, "email_not_confirmed", "Email not confirmed")
        return await _start(request, cursor, user)


async def _start(request: web.Request, cursor: Cursor, user: users.Row) -> dict[str, Any]:
    return await sessions.start(cursor, user, Device.of(request), request.app[ISSUER])


async def _refresh_grant(request: web.Request) -> dict[str, Any]:
    body = await bodies.read(request, bodies.RefreshGrant)
    if not body.refresh_token:
        raise validation_failed("refresh_token required")
    async with transaction(request) as cursor:
        answer = await sessions.refresh(
            cursor, body.refresh_token, Device.of(request), request.app[ISSUER]
        )
    if isinstance(answer, AuthError):
        raise answer
    return answer


async def get_user(request: web.Request) -> web.Response:
    async with transaction(request) as cursor:
        user, _ = await signed_in_user(request, cursor)
    return web.json_response(users.view(user))


async def update_user(request: web.Request) -> web.Response:
    """Change one's own address, password or user_metadata; all at once, without mails."""
    body = await bodies.read(request, bodies.UserUpdate)
    async with transaction(request) as cursor:
        user, session_id = await signed_in_user(request, cursor)
        changes: dict[str, Any] = {}
        if body.email is not None and body.email != user["email"]:
            if await users.by_email(cursor, body.email):
                raise email_taken()
            changes["email"] = body.email
        if body.data is not None:
            changes["raw_user_meta_data"] = users.merged(user["raw_user_meta_data"], body.data)
        if body.password is not None:
            passwords.check(body.password)
            if await passwords.matches(body.password, user["encrypted_password"]):
                message = "New password should be different from the old password."
                raise AuthError(422, "same_password", message)
            changes["encrypted_password"] = await passwords.hash_password(body.password)
            # Whoever signed in with the old password is signed out.
            await sessions.end(cursor, user["id"], session_id, "others")
        updated = await users.update(cursor, user["id"], changes)
    return web.json_response(users.view(updated))


async def logout(request: web.Request) -> web.Response:
    """End sessions: `scope=global` (the default), `local` or `others`."""
    scope = request.query.get("scope", "global")
    if scope not in get_args(sessions.LogoutScope):
        raise validation_failed(f"Unsupported logout scope {scope[:20]!r}")
    async with transaction(request) as cursor:
        user, session_id = await signed_in_user(request, cursor)
        await sessions.end(cursor, user["id"], session_id, cast(sessions.LogoutScope, scope))
    return web.Response(status=204)
