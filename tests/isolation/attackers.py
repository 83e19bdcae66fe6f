"""Two people with things of their own, and requests with any token to the gateway and the API."""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import httpx
import jwt
import psycopg

from flowstate_cli.policies.inventory import Inventory, read_inventory
from flowstate_cli.policies.rules import Rules
from flowstate_cli.policies.samples import Samples
from flowstate_local import StackInfo

CANARY = "secret-of-the-victim"
FLOW = {"steps": [{"name": "rows", "type": "transform", "args": {"template": "text"}}]}


@dataclass(frozen=True)
class Person:
    """A user of the stack, and a token as the Auth server would issue it."""

    id: str
    token: str
    flow_id: str


def claims(user_id: str | None, **others: Any) -> dict[str, Any]:
    """Of a good token, with some claims changed; None takes one out."""
    now = int(time.time())
    good = {
        "aud": "authenticated",
        "role": "authenticated",
        "sub": user_id,
        "iat": now,
        "exp": now + 3600,
        "session_id": str(uuid.uuid4()),
        **others,
    }
    return {name: value for name, value in good.items() if value is not None}


def sign(content: Mapping[str, Any], secret: str, **header: Any) -> str:
    """With HS256, whatever the header says."""
    parts = [_encoded({"alg": "HS256", "typ": "JWT", **header}), _encoded(content)]
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(
        ".".join(parts).encode(), secret.encode()
    )
    return ".".join([*parts, base64.urlsafe_b64encode(signature).decode().rstrip("=")])


def with_claims(token: str, **changed: Any) -> str:
    """The token with other claims and the signature that it had."""
    header, _, signature = token.split(".")
    held = jwt.decode(token, options={"verify_signature": False})
    return ".".join([header, _encoded({**held, **changed}), signature])


def _encoded(part: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


@dataclass
class World:
    """The stack as an attacker reaches it, and as its owner looks at it."""

    info: StackInfo
    database: psycopg.Connection
    rules: Rules
    http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=60))

    def person(self, tier: str = "free", role: str = "user", *, canary: str = "") -> Person:
        """A user with a sample in every table that has rows of users."""
        user_id = str(uuid.uuid4())
        self.database.execute(
            "insert into auth.users (id, aud, role, email, created_at, updated_at)"
            " values (%s, 'authenticated', 'authenticated', %s, now(), now())",
            (user_id, f"{user_id}@example.com"),
        )
        self.database.execute(
            "update public.user_profiles set tier = %s, role = %s, display_name = %s"
            " where user_id = %s",
            (tier, role, canary or None, user_id),
        )
        row = self.database.execute(
            "insert into public.flows (user_id, name, definition) values (%s, %s, %s) returning id",
            (user_id, f"flow of {user_id}", json.dumps(FLOW).replace("text", canary or "text")),
        ).fetchone()
        assert row
        return Person(user_id, sign(claims(user_id), self.info.jwt_secret), str(row[0]))

    @cached_property
    def inventory(self) -> Inventory:
        return read_inventory(self.database, ("public", *self.rules.closed_schemas))

    def samples(self, user_id: str) -> Samples:
        """Makes rows that stay."""
        return Samples(self.database, self.rules, self.inventory, user_id)

    def ask(
        self, method: str, path: str, token: str, *, direct: bool = False, **more: Any
    ) -> httpx.Response:
        """A request to /rest/v1, through the gateway or to PostgREST itself."""
        base = self.info.postgrest_url if direct else f"{self.info.api_url}/rest/v1"
        headers = {
            "apikey": self.info.publishable_key,
            "Authorization": f"Bearer {token}",
            **more.pop("headers", {}),
        }
        return self.http.request(method, base + path, headers=headers, **more)

    def call(
        self,
        function: str,
        token: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        direct: bool = False,
        **more: Any,
    ) -> tuple[int, Any]:
        """An RPC's status and body."""
        body = {**(arguments or {}), **more}
        answer = self.ask("POST", f"/rpc/{function}", token, direct=direct, json=body)
        return answer.status_code, answer.json() if answer.content else None
