"""The simulator's Google: clients, consent, and a person who withdraws it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

import httpx

Json = dict[str, Any]
SCOPE = "openid https://www.googleapis.com/auth/drive"


@dataclass(frozen=True)
class Client:
    """An OAuth client: what Google's console shows for an app."""

    id: str
    secret: str


class Google:
    """Control calls of the simulator at `url`, and its OAuth endpoints."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.token_url = f"{url}/token"
        self._http = httpx.Client(base_url=url, timeout=30)

    def close(self) -> None:
        self._http.close()

    def client(self) -> Client:
        """A new client."""
        made = Client(
            f"{secrets.token_hex(6)}.apps.googleusercontent.com",
            f"GOCSPX-CANARY{secrets.token_hex(12)}",
        )
        self._control("clients", client_id=made.id, client_secret=made.secret)
        return made

    def consent(self, client: Client, scope: str = SCOPE) -> Json:
        """Google's token answer after a person has consented."""
        return self._control("grants", client_id=client.id, scope=scope)

    def withdraw(self, refresh_token: str) -> None:
        """The person removes the app in their account."""
        self._control("withdraw", refresh_token=refresh_token)

    def fault(self, fault: str, **rule: Any) -> None:
        """See flowstate_local/simulator/google_oauth.ts."""
        self._control("faults", fault=fault, **rule)

    def heal(self) -> None:
        """No faults any more."""
        self._http.delete("/_sim/google/faults").raise_for_status()

    def summary(self) -> Json:
        found: Json = self._http.get("/_sim/google").raise_for_status().json()
        return found

    def grant(self, refresh_token: str) -> Json:
        """What is known of one grant: refreshes, access_tokens, withdrawn."""
        grants = self.summary()["grants"]
        [found] = [grant for grant in grants if grant["refresh_token"] == refresh_token]
        assert isinstance(found, dict)
        return found

    def ask(self, path: str = "/token", **form: str) -> httpx.Response:
        """A request as an app sends it."""
        return self._http.post(path, data=form)

    def refresh(self, client: Client, refresh_token: str) -> httpx.Response:
        return self.ask(
            grant_type="refresh_token",
            client_id=client.id,
            client_secret=client.secret,
            refresh_token=refresh_token,
        )

    def _control(self, path: str, **body: Any) -> Json:
        answer = self._http.post(f"/_sim/google/{path}", json=body)
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found
