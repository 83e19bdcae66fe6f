"""Who asks: seven callers, and how a request of each reaches the database.

Requests run as PostgREST runs them: the role of the token, its claims in a setting, in a
transaction. The tokens of people lie about role and tier on purpose: only tables may be believed.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

import psycopg
from psycopg import sql


class Caller(StrEnum):
    """The columns of the matrix. Staff and `other` ask for rows of a user who is not they."""

    ANON = "anon"
    OWN = "own"
    OTHER = "other"
    SUPPORT = "support"
    ADMIN = "admin"
    OWNER = "owner"
    SERVICE = "service"

    @property
    def database_role(self) -> str:
        return {Caller.ANON: "anon", Caller.SERVICE: "service_role"}.get(self, "authenticated")

    @property
    def meaning(self) -> str:
        """For messages."""
        return _MEANINGS[self]


_MEANINGS = {
    Caller.ANON: "nobody signed in",
    Caller.OWN: "a user, on their own",
    Caller.OTHER: "a user, on another user's",
    Caller.SUPPORT: "support, on a user's",
    Caller.ADMIN: "an admin, on a user's",
    Caller.OWNER: "an owner, on a user's",
    Caller.SERVICE: "the service role",
}
STAFF = (Caller.SUPPORT, Caller.ADMIN, Caller.OWNER)
SIGNED_IN = (Caller.OWN, Caller.OTHER, *STAFF)
API_ROLES = ("anon", "authenticated", "service_role")

_BEGIN = sql.SQL(
    "savepoint attempt; select set_config('request.jwt.claims', {}, true),"
    " set_config('role', {}, true), set_config('search_path', 'public, extensions', true)"
)
_MAKE_USER = """
insert into auth.users (id, aud, role, email, created_at, updated_at)
values (%s, 'authenticated', 'authenticated', %s, now(), now())
"""


@dataclass(frozen=True)
class People:
    """Two users and three members of staff, made for one run."""

    user: str
    other_user: str
    staff: dict[Caller, str]

    @classmethod
    def make(cls, connection: psycopg.Connection) -> People:
        """Inserts them. The caller rolls back."""
        people = cls(_new_id(), _new_id(), {role: _new_id() for role in STAFF})
        for person in (people.user, people.other_user, *people.staff.values()):
            connection.execute(_MAKE_USER, (person, f"{person}@policies.invalid"))
        for role, person in people.staff.items():
            connection.execute(
                "update public.user_profiles set role = %s where user_id = %s", (role, person)
            )
        return people

    def who_asks(self, caller: Caller) -> str | None:
        """The person behind the token; None for keys."""
        if caller in (Caller.ANON, Caller.SERVICE):
            return None
        return self.staff.get(caller, self.user)

    def whose_rows(self, caller: Caller) -> str:
        """The user whose rows the caller asks for."""
        return self.other_user if caller is Caller.OTHER else self.user

    @contextmanager
    def asking(self, connection: psycopg.Connection, caller: Caller) -> Iterator[None]:
        """Runs a block as the caller, and undoes all that it did."""
        claims: dict[str, object] = {"role": caller.database_role, "aud": caller.database_role}
        person = self.who_asks(caller)
        if person is not None:
            claims |= {
                "sub": person,
                "user_role": "owner",
                "user_tier": "enterprise",
                "app_metadata": {"role": "owner", "tier": "enterprise"},
                "user_metadata": {"role": "service_role", "user_id": self.other_user},
            }
        # In one round trip each: there are thousands of attempts.
        connection.execute(
            _BEGIN.format(sql.Literal(json.dumps(claims)), sql.Literal(caller.database_role))
        )
        try:
            yield
        finally:
            connection.execute("rollback to savepoint attempt; release savepoint attempt")


def _new_id() -> str:
    return str(uuid.uuid4())
