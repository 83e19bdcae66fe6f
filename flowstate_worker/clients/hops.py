"""One HTTP request to an instance, seen as a `HopAnswer`.

On aiohttp itself rather than on httpx over it: this is the hot path, two requests an execution, and
the adapter costs more than half of the requests per second (figures in docs/worker.md).

Redirects are never followed here: where the second hop may go is the caller's decision.
"""

from http.cookies import SimpleCookie
from urllib.parse import urljoin

import aiohttp
from yarl import URL

from flowstate_worker.clients.guarded_resolver import GuardedResolver
from flowstate_worker.rules.addresses import Addresses
from flowstate_worker.rules.classification import Failure, HopAnswer

MAX_BODY_BYTES = 1_000_000
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_RETRY_AFTER_SECONDS = 3600.0
_ENCODING = "Content-Encoding"
_NO_HEADERS: dict[str, str] = {}
_JSON = {"Content-Type": "application/json"}


class Cookies:
    """The cookies of one exchange, sent back to who set them. Most exchanges have none."""

    def __init__(self) -> None:
        self._by_domain: dict[str, dict[str, str]] = {}

    def take(self, host: str, cookies: SimpleCookie) -> None:
        for name, morsel in cookies.items():
            domain = str(morsel["domain"]).lstrip(".").lower() or host
            if _within(host, domain):
                self._by_domain.setdefault(domain, {})[name] = morsel.value

    def headers(self, host: str, others: dict[str, str]) -> dict[str, str]:
        """`others`, with the cookies for `host` if there are any."""
        if not self._by_domain:
            return others
        pairs = [
            f"{name}={value}"
            for domain, cookies in self._by_domain.items()
            if _within(host, domain)
            for name, value in cookies.items()
        ]
        return {**others, "Cookie": "; ".join(pairs)} if pairs else others


def _within(host: str, domain: str) -> bool:
    return host == domain or host.endswith("." + domain)


def instance_session(connect_seconds: float) -> aiohttp.ClientSession:
    """The session for calls to instances. Its connections are bounded by the calls in flight."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, resolver=GuardedResolver()),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_seconds),
        trust_env=False,
        max_line_size=16_384,
    )


class Hops:
    """Sends single requests within `connect_seconds` and a total for each."""

    def __init__(
        self, session: aiohttp.ClientSession, addresses: Addresses, *, connect_seconds: float
    ) -> None:
        self._session = session
        self._addresses = addresses
        self._connect_seconds = connect_seconds

    async def send(
        self,
        method: str,
        url: str,
        *,
        seconds: float,
        cookies: Cookies,
        body: bytes | None = None,
    ) -> tuple[HopAnswer, str | None]:
        """The answer, and where it redirects to if it does. `seconds` bound the whole of it."""
        address = URL(url, encoded=True)
        host = address.host or ""
        try:
            async with self._session.request(
                method,
                address,
                data=body,
                headers=cookies.headers(host, _NO_HEADERS if body is None else _JSON),
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=seconds, sock_connect=self._connect_seconds),
            ) as response:
                if response.cookies:
                    cookies.take(host, response.cookies)
                read = await _read_capped(response)
                location = response.headers.get("Location")
                if location is not None and response.status in _REDIRECTS:
                    if not location.startswith(("https://", "http://")):
                        location = urljoin(url, location)
                    target = self._addresses.target(location)
                    return HopAnswer(response.status, target=target), location
                if read is None:
                    return HopAnswer(response.status, failure=Failure.TOO_LARGE), None
                wait = retry_after(response) if response.status != 200 else None
                return HopAnswer(response.status, read, retry_after_seconds=wait), None
        # Only a failure to connect is sure to have sent nothing.
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            return HopAnswer(failure=Failure.CONNECT), None
        except TimeoutError:
            return HopAnswer(failure=Failure.TIMEOUT), None
        except (aiohttp.ClientError, OSError, ValueError):
            return HopAnswer(failure=Failure.BROKEN), None


async def _read_capped(response: aiohttp.ClientResponse) -> bytes | None:
    """The body, or None once it is larger than the cap: nothing beyond it is kept."""
    length = response.content_length
    if length is not None and length <= MAX_BODY_BYTES and _ENCODING not in response.headers:
        return await response.read()
    if length is not None and length > MAX_BODY_BYTES:
        return None
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > MAX_BODY_BYTES:
            return None
        parts.append(part)
    return b"".join(parts)


def retry_after(response: aiohttp.ClientResponse) -> float | None:
    """Retry-After in seconds; the form with a date is not used by Google and not read here."""
    value = response.headers.get("Retry-After", "")
    if not (value.isascii() and value.isdigit()):
        return None
    return min(float(value), _MAX_RETRY_AFTER_SECONDS)
