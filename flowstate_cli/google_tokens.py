"""Seals and reseals users' Google tokens for the commands, and ends grants at Google.

A token is readable here for a moment and is never printed: what these functions answer is counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

from flowstate_cli.api import Api, Row
from flowstate_cli.errors import BadInputError, NotReachableError
from flowstate_cli.settings import Settings

if TYPE_CHECKING:
    from flowstate_worker.google_settings import GoogleSettings
    from flowstate_worker.rules.google_answers import TokenAnswer
    from flowstate_worker.rules.sealing import KeyRing

KEYS = "FLOWSTATE_TOKEN_KEYS"
_PASSES = 3


def google_settings(settings: Settings) -> GoogleSettings:
    """The settings of Google tokens among these. Raises BadInputError, which repeats no value."""
    from pydantic import ValidationError

    from flowstate_worker.google_settings import GoogleSettings
    from flowstate_worker.settings import explain

    names = {f"FLOWSTATE_{name.upper()}": name for name in GoogleSettings.model_fields}
    given: dict[str, Any] = {
        names[name]: value for name, value in settings.values.items() if name in names
    }
    try:
        return GoogleSettings(**given)
    except ValidationError as error:
        raise BadInputError(explain(error)) from None


def key_ring_or_none(api: Api) -> KeyRing | None:
    """The keys of the environment, or else of Vault; None without any. Raises BadInputError."""
    from flowstate_worker.errors import SettingsInvalid

    settings = google_settings(api.settings)
    try:
        ring = settings.key_ring()
        if ring is None:
            vault = api.rpc("get_google_token_keys")
            ring = settings.key_ring_of(vault) if vault else None
    except SettingsInvalid as error:
        raise BadInputError(str(error)) from None
    return ring


def key_ring(api: Api) -> KeyRing:
    """The same where a command cannot do without. Raises NotReachableError."""
    ring = key_ring_or_none(api)
    if ring is None:
        raise NotReachableError(
            "There is no key to seal with: it is not set, and there is no Vault that holds one.",
            field=KEYS,
            hint="Make one, and give it to the workers too: flowstate tokens new-key",
        )
    return ring


def read_answer(found: Row) -> TokenAnswer:
    """Google's answer to an exchanged code. Raises BadInputError, which repeats nothing of it."""
    from pydantic import ValidationError

    from flowstate_worker.rules.google_answers import TokenAnswer

    hint = 'Google\'s JSON: {"access_token", "expires_in", "refresh_token", "scope", "token_type"}'
    try:
        answer = TokenAnswer.model_validate(found)
    except ValidationError as error:
        names = sorted({str(problem["loc"][0]) for problem in error.errors(include_input=False)})
        raise BadInputError(
            f"This is not an answer with tokens: {', '.join(names)} cannot be used.",
            field="--file",
            hint=hint,
        ) from None
    if answer.refresh_token is None:
        raise BadInputError(
            "It holds no refresh_token.",
            field="--file",
            hint="Google sends one with access_type=offline, and again only with prompt=consent.",
        )
    return answer


def store(api: Api, user_id: str, answer: TokenAnswer) -> Row:
    """Seals and keeps the refresh token.

    The access token is left out: nobody knows how old the file is. A fresh one follows.
    """
    from flowstate_worker.rules.sealing import Kind

    ring = key_ring(api)
    assert answer.refresh_token is not None
    token = answer.refresh_token.get_secret_value()
    stored: Row = api.rpc(
        "store_google_tokens",
        {
            "user_id": user_id,
            "key_id": ring.key_id,
            "sealed_refresh_token": ring.seal(token, UUID(user_id), Kind.REFRESH),
            "scopes": answer.scopes,
        },
    )
    return {**stored, "key_id": ring.key_id}


def end_grant(api: Api, user_id: str, ended: Row) -> str | None:
    """Ends the grant of a removed connection at Google. None: it is over; otherwise why not."""
    import asyncio

    from flowstate_worker.clients.google_oauth import google_oauth
    from flowstate_worker.clients.hops import instance_session
    from flowstate_worker.errors import TokenUnreadable
    from flowstate_worker.rules.sealing import Kind

    sealed, key_id = ended["sealed_refresh_token"], ended["key_id"]
    if sealed is None:
        return None  # revoked before
    ring = key_ring_or_none(api)
    if ring is None:
        return "unknown_key"
    try:
        token = ring.open(sealed, UUID(user_id), Kind.REFRESH, key_id)
    except TokenUnreadable as error:
        return error.reason

    async def revoke() -> str | None:
        settings = google_settings(api.settings)
        async with instance_session(settings.google_timeout_seconds) as session:
            return await google_oauth(settings, session).revoke(token)

    return asyncio.run(revoke())


@dataclass
class Rotation:
    """What a rotation has done so far. `unreadable`: tokens that no key here opens, by reason."""

    resealed: int = 0
    changed: int = 0
    unreadable: Counter[str] = field(default_factory=Counter)


def reseal(api: Api, ring: KeyRing, batch: int, told: Callable[[Rotation], None]) -> Rotation:
    """Puts every token under the ring's sealing key, batch by batch.

    What changed between being read and being written is left alone and read again in the next
    pass: a worker may have refreshed it, under an older key even. One that goes on doing so is
    not chased for ever.
    """
    rotation = Rotation()
    for _ in range(_PASSES):
        before = rotation.resealed
        rotation.changed = 0
        rotation.unreadable.clear()
        for page in _pages(api, ring, batch):
            items = [item for row in page if (item := _resealed(ring, row, rotation.unreadable))]
            answers = api.rpc("finish_google_token_reseals", {"items": items}) if items else []
            ends = Counter(answer["answer"] for answer in answers)
            rotation.resealed += ends["resealed"]
            rotation.changed += ends["changed"]
            told(rotation)
        if rotation.resealed == before:
            break
    return rotation


def _pages(api: Api, ring: KeyRing, batch: int) -> Iterator[list[Row]]:
    after = None
    while True:
        arguments = {"current_key_id": ring.key_id, "max": batch, "after": after}
        page: list[Row] = api.rpc("claim_google_tokens_to_reseal", arguments)
        if page:
            yield page
        if len(page) < batch:
            return
        after = page[-1]["user_id"]


def _resealed(ring: KeyRing, row: Row, unreadable: Counter[str]) -> Row | None:
    from flowstate_worker.errors import TokenUnreadable
    from flowstate_worker.rules.sealing import Kind

    user_id, key_id = UUID(row["user_id"]), row["key_id"]
    item: Row = {"user_id": row["user_id"], "version": row["version"], "key_id": ring.key_id}
    try:
        for kind in Kind:
            name = f"sealed_{kind.value}_token"
            sealed = row[name]
            opened = None if sealed is None else ring.open(sealed, user_id, kind, key_id)
            item[name] = None if opened is None else ring.seal(opened, user_id, kind)
    except TokenUnreadable as error:
        unreadable[error.reason] += 1
        return None
    return item
