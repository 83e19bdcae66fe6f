"""Where a sign-in or a refresh comes from, as Auth notes it down in auth.sessions."""

import ipaddress
from dataclasses import dataclass

from aiohttp import web


@dataclass(frozen=True)
class Device:
    """The client behind a request; both are what it, or a proxy before us, says."""

    user_agent: str | None
    address: str | None

    @classmethod
    def of(cls, request: web.Request) -> "Device":
        """The first address in X-Forwarded-For, or else whoever is connected."""
        came_by = ",".join(request.headers.getall("X-Forwarded-For", [])).split(",")
        addresses = (_address(each.strip()) for each in (*came_by, request.remote or ""))
        # Bytes that are no UTF-8 come in as surrogates, which Postgres would refuse.
        user_agent = request.headers.get("User-Agent", "").encode("utf-8", "replace").decode()
        return cls(user_agent or None, next(filter(None, addresses), None))


def _address(text: str) -> str | None:
    try:
        # Postgres knows no zones (fe80::1%eth0).
        return str(ipaddress.ip_address(text.partition("%")[0]))
    except ValueError:
        return None
