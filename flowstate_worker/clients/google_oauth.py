"""Google's OAuth endpoints: a new access token for a refresh token, and the end of a grant.

A request goes to the one address of the settings and is never redirected: it carries a token. What
Google answers is read for its codes; its text reaches no log and no row.
"""

import time

import aiohttp

from flowstate_worker.clients.hops import retry_after
from flowstate_worker.google_settings import GoogleSettings
from flowstate_worker.rules.google_answers import Failed, Refresh, judge_refresh, judge_revoke

_MAX_ANSWER_BYTES = 65_536


def google_oauth(settings: GoogleSettings, session: aiohttp.ClientSession) -> "GoogleOAuth":
    """Google as the settings name it."""
    secret = settings.google_client_secret
    return GoogleOAuth(
        session,
        token_url=settings.google_token_url,
        timeout_seconds=settings.google_timeout_seconds,
        client_id=settings.google_client_id or "",
        client_secret=secret.get_secret_value() if secret else "",
    )


class GoogleOAuth:
    """`token_url` ends with /token; /revoke is beside it. `timeout_seconds` bound a whole call."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        token_url: str,
        timeout_seconds: float,
        client_id: str = "",
        client_secret: str = "",
    ) -> None:
        self._session = session
        self._token_url = token_url
        self._revoke_url = f"{token_url.removesuffix('/token')}/revoke"
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._client = {"client_id": client_id, "client_secret": client_secret}

    async def refresh(self, refresh_token: str) -> tuple[Refresh, float]:
        """What came of it, and how many seconds it took: a token's time runs from its issue."""
        form = {**self._client, "grant_type": "refresh_token", "refresh_token": refresh_token}
        began = time.monotonic()
        answer = await self._post(self._token_url, form)
        verdict = answer if isinstance(answer, Failed) else judge_refresh(*answer)
        return verdict, time.monotonic() - began

    async def revoke(self, token: str) -> str | None:
        """End the grant that `token` belongs to. None: it is over; otherwise why it is not."""
        answer = await self._post(self._revoke_url, {"token": token})
        return answer.reason if isinstance(answer, Failed) else judge_revoke(*answer)

    async def _post(
        self, url: str, form: dict[str, str]
    ) -> tuple[int, bytes, float | None] | Failed:
        try:
            async with self._session.post(
                url, data=form, allow_redirects=False, timeout=self._timeout
            ) as response:
                body = b""
                async for part in response.content.iter_any():
                    body += part
                    if len(body) > _MAX_ANSWER_BYTES:
                        return Failed("unreadable_answer")
                return response.status, body, retry_after(response)
        except TimeoutError:
            return Failed("timeout")
        except (aiohttp.ClientError, OSError):
            return Failed("network")
