"""Passwords: bcrypt, as hosted Auth stores them, so that imported users can sign in.

The cost is bcrypt's lowest. That is right for throw-away users on a developer's machine, where
tests sign in by the hundred, and wrong anywhere else.
"""

import asyncio

import bcrypt

from .errors import WeakPasswordError, validation_failed

LOCAL_COST = 4
MIN_LENGTH = 6
MAX_BYTES = 72
"""bcrypt reads no further; hosted Auth refuses a longer password too."""


def check(password: str) -> None:
    """Refuse what hosted Auth would refuse by default."""
    if len(password) < MIN_LENGTH:
        raise WeakPasswordError(MIN_LENGTH)
    if len(password.encode()) > MAX_BYTES:
        raise validation_failed(f"Password cannot be longer than {MAX_BYTES} characters")


async def hash_password(password: str) -> str:
    salt = bcrypt.gensalt(LOCAL_COST)
    return (await asyncio.to_thread(bcrypt.hashpw, password.encode(), salt)).decode()


async def matches(password: str, hashed: str | None) -> bool:
    """Whether this is the password; off the event loop, since imported hashes cost more."""
    secret = password.encode()
    if not hashed or len(secret) > MAX_BYTES:
        return False
    try:
        return await asyncio.to_thread(bcrypt.checkpw, secret, hashed.encode())
    except ValueError:  # not a bcrypt hash: such a user has no password here
        return False
