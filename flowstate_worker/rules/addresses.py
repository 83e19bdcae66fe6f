"""Which addresses the worker calls: none that the operator has not listed.

An instance's URL is a row in a table and a redirect's target comes from outside; either could name
a metadata service or a machine behind the firewall. So the two hops have a list of hosts each,
paths are fixed, and what a host name resolves to is checked again for every connection
(`is_callable_ip`), so that a name that changes its address (DNS rebinding) gains nothing.
"""

import re
from enum import StrEnum
from ipaddress import IPv6Address, ip_address
from urllib.parse import SplitResult, urlsplit

from flowstate_worker.errors import AddressRefused

_EXEC_PATH = re.compile(r"/(?:a/macros/[A-Za-z0-9.-]+|macros)/s/[A-Za-z0-9_-]{1,200}/exec")
_ECHO_PATH = "/macros/echo"
_SANE = re.compile(r"[\x21-\x7e]{1,4096}")
_HOST = re.compile(r"(?:[a-z0-9][a-z0-9.-]*|\[[0-9a-f:.]+\])(?::(?P<port>[1-9][0-9]{0,4}))?")
_DEFAULT_PORTS = {"https": 443, "http": 80}
_MAX_CHECKED = 10_000


class Target(StrEnum):
    """What a redirect of the first hop points to."""

    ECHO = "echo"
    LOGIN = "login"
    SCRIPT = "script"
    ELSEWHERE = "elsewhere"


def is_loopback(host: str) -> bool:
    """True for `localhost` and literal loopback addresses; a mapped IPv6 address counts as its IPv4
    one.
    """
    if host == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return address.is_loopback


def is_callable_ip(literal: str, *, loopback: bool) -> bool:
    """May a host name resolve to this address? Public ones only; loopback ones only for listed
    loopback hosts.
    """
    address = ip_address(literal.partition("%")[0])
    if isinstance(address, IPv6Address):
        embedded = address.ipv4_mapped or address.sixtofour
        if address.teredo is not None or address in _NAT64:
            return False
        if embedded is not None:
            address = embedded
    if loopback:
        return address.is_loopback
    return address.is_global and not address.is_multicast


class _Nat64:
    """64:ff9b::/96 carries any IPv4 address, a private one too."""

    def __contains__(self, address: IPv6Address) -> bool:
        return int(address) >> 32 == 0x0064FF9B << 64


_NAT64 = _Nat64()


def parse_hosts(text: str) -> tuple[str, ...]:
    """`host` or `host:port`, separated by commas, in lower case.

    Raises ValueError with the entry that is neither.
    """
    entries = tuple(entry.strip().lower() for entry in text.split(",") if entry.strip())
    for entry in entries:
        match = _HOST.fullmatch(entry)
        if match is None or int(match["port"] or 0) > 65535:
            raise ValueError(f"{entry!r} is not a host or host:port")
    if not entries:
        raise ValueError("name at least one host")
    return entries


class Addresses:
    """The allow-list: `exec_hosts` for calls to instances, `echo_hosts` for their answers."""

    def __init__(self, exec_hosts: tuple[str, ...], echo_hosts: tuple[str, ...]) -> None:
        self._exec = frozenset(_with_port(host) for host in exec_hosts)
        self._echo_pages = frozenset(page for host in echo_hosts for page in _echo_pages(host))
        self._checked: set[str] = set()

    def check_exec(self, url: str) -> None:
        """Raises AddressRefused unless `url` is an instance's `/exec` on a listed host."""
        if url in self._checked:
            return
        parts = _split(url)
        if _origin(parts) not in self._exec:
            raise AddressRefused(f"{parts.hostname!r} is not in FLOWSTATE_EXEC_HOSTS")
        if not _EXEC_PATH.fullmatch(parts.path) or parts.query:
            raise AddressRefused("an instance's URL ends with /macros/s/{deployment id}/exec")
        if len(self._checked) < _MAX_CHECKED:
            self._checked.add(url)

    def target(self, url: str) -> Target:
        """What a redirect points to; `ECHO` is the only one that may be followed.

        An echo address is recognised by its text, not by its parts: what is compared letter by
        letter cannot be read differently by whoever connects.
        """
        if url.partition("?")[0] in self._echo_pages and _SANE.fullmatch(url):
            return Target.ECHO
        try:
            parts = _split(url)
        except AddressRefused:
            return Target.ELSEWHERE
        if parts.hostname == "accounts.google.com" or "servicelogin" in parts.path.lower():
            return Target.LOGIN
        return Target.SCRIPT if _origin(parts) in self._exec else Target.ELSEWHERE


def _split(url: str) -> SplitResult:
    """The parts of an absolute address that breaks none of the general rules."""
    if not _SANE.fullmatch(url) or "\\" in url:
        raise AddressRefused("the address has characters that no address of an instance has")
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        raise AddressRefused("the address cannot be read") from None
    if host is None:
        raise AddressRefused("the address names no host")
    if "@" in parts.netloc:
        raise AddressRefused("the address carries credentials")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise AddressRefused("only https is called (http on loopback hosts, for development)")
    return parts


def _origin(parts: SplitResult) -> tuple[str, int]:
    return parts.hostname or "", parts.port or _DEFAULT_PORTS[parts.scheme]


def _echo_pages(entry: str) -> list[str]:
    """The address of answers on a listed host, without its query, in its ways of being written."""
    host, port = _with_port(entry)
    schemes = ("https", "http") if is_loopback(host) else ("https",)
    hosts = {entry, f"{entry}:443"} if port == 443 and entry == host else {entry}
    return [f"{scheme}://{host}{_ECHO_PATH}" for scheme in schemes for host in hosts]


def _with_port(entry: str) -> tuple[str, int]:
    parts = urlsplit(f"//{entry}")
    return parts.hostname or "", parts.port or 443
