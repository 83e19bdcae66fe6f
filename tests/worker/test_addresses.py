"""Which addresses are called: a table of what an attacker or a typing error may put there."""

import socket
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from flowstate_worker.clients.guarded_resolver import GuardedResolver
from flowstate_worker.errors import AddressRefused
from flowstate_worker.rules.addresses import Addresses, Target, is_callable_ip, parse_hosts

GOOGLE = Addresses(("script.google.com",), ("script.googleusercontent.com",))
LOCAL = Addresses(("127.0.0.1:4000",), ("127.0.0.1:4001",))
EXEC = "/macros/s/AKfycbx_-09/exec"


@pytest.mark.parametrize(
    "url",
    [
        f"https://script.google.com{EXEC}",
        f"https://script.google.com:443{EXEC}",
        f"https://SCRIPT.google.com{EXEC}",
        "https://script.google.com/a/macros/example.com/s/AKfycbx/exec",
    ],
)
def test_a_deployments_address_is_called(url: str) -> None:
    GOOGLE.check_exec(url)


@pytest.mark.parametrize(
    "url",
    [
        f"http://script.google.com{EXEC}",
        f"https://script.google.com:8443{EXEC}",
        f"https://user:pass@script.google.com{EXEC}",
        f"https://script.google.com@evil.example{EXEC}",
        f"https://script.google.com.evil.example{EXEC}",
        f"https://evil.example/script.google.com{EXEC}",
        f"https://evil.example#@script.google.com{EXEC}",
        f"https://evil.example\\@script.google.com{EXEC}",
        f"https://169.254.169.254{EXEC}",
        f"https://[::ffff:169.254.169.254]{EXEC}",
        f"https://[fd00::1]{EXEC}",
        f"http://127.0.0.1:4000{EXEC}",
        f"https://2130706433{EXEC}",
        f"https://script.google.com{EXEC}?x=1",
        f"https://script.google.com{EXEC}/more",
        "https://script.google.com/macros/s/AKfycbx/dev",
        "https://script.google.com/macros/s/../../x/exec",
        f"https://script.google.com/%2e%2e{EXEC}",
        f" https://script.google.com{EXEC}",
        f"https://script.google.com{EXEC}\r\nX-Evil: 1",
        f"https://script.google.com:99999{EXEC}",
        f"//script.google.com{EXEC}",
        f"file://script.google.com{EXEC}",
        "not an address",
        "",
    ],
)
def test_any_other_address_is_refused(url: str) -> None:
    with pytest.raises(AddressRefused):
        GOOGLE.check_exec(url)


def test_http_is_for_listed_loopback_hosts_alone() -> None:
    LOCAL.check_exec(f"http://127.0.0.1:4000{EXEC}")
    for url in (f"http://127.0.0.1:4002{EXEC}", f"http://127.0.0.2:4000{EXEC}"):
        with pytest.raises(AddressRefused):
            LOCAL.check_exec(url)
    with pytest.raises(AddressRefused):
        Addresses(("10.0.0.1:80",), ()).check_exec(f"http://10.0.0.1:80{EXEC}")


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://script.googleusercontent.com/macros/echo?user_content_key=x", Target.ECHO),
        ("https://script.googleusercontent.com:443/macros/echo?user_content_key=x", Target.ECHO),
        ("http://script.googleusercontent.com/macros/echo?user_content_key=x", Target.ELSEWHERE),
        ("https://script.googleusercontent.com/macros/echo/../x?y", Target.ELSEWHERE),
        ("https://script.googleusercontent.com/other", Target.ELSEWHERE),
        ("https://script.googleusercontent.com.evil.example/macros/echo?x", Target.ELSEWHERE),
        ("https://x@script.googleusercontent.com/macros/echo?x", Target.ELSEWHERE),
        ("https://169.254.169.254/macros/echo?user_content_key=x", Target.ELSEWHERE),
        ("http://127.0.0.1:4001/macros/echo?user_content_key=x", Target.ELSEWHERE),
        (f"https://script.google.com{EXEC}", Target.SCRIPT),
        ("https://script.google.com/macros/u/0/s/elsewhere/exec", Target.SCRIPT),
        ("https://accounts.google.com/v3/signin/identifier?continue=x", Target.LOGIN),
        ("https://accounts.google.com/ServiceLogin?continue=x", Target.LOGIN),
        ("javascript:alert(1)", Target.ELSEWHERE),
        ("https://script.googleusercontent.com/macros/echo?a\nb", Target.ELSEWHERE),
    ],
)
def test_a_redirect_is_followed_to_an_echo_address_only(url: str, target: Target) -> None:
    assert GOOGLE.target(url) is target


@pytest.mark.parametrize(
    ("address", "callable_"),
    [
        ("142.250.74.142", True),
        ("2a00:1450:4001:82a::200e", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("255.255.255.255", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fd00:ec2::254", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:169.254.169.254", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("2002:0a00:0001::1", False),
        ("2001:0:53aa:64c::1", False),
        ("ff02::1", False),
    ],
)
def test_a_name_may_resolve_to_public_addresses_only(address: str, callable_: bool) -> None:
    assert is_callable_ip(address, loopback=False) is callable_


class _Flipping(AbstractResolver):
    """Public the first time, then the metadata service."""

    def __init__(self) -> None:
        self.answers = ["142.250.74.142", "169.254.169.254"]

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host, host=self.answers.pop(0), port=port, family=family, proto=0, flags=0
            )
        ]

    async def close(self) -> None:
        return None


async def test_a_name_that_changes_its_address_is_refused_when_it_does() -> None:
    resolver = GuardedResolver(_Flipping())
    [first] = await resolver.resolve("script.google.com", 443, socket.AF_INET)
    assert first["host"] == "142.250.74.142"
    with pytest.raises(OSError, match="no public address"):
        await resolver.resolve("script.google.com", 443, socket.AF_INET)


@pytest.mark.parametrize("text", ["", " , ", "https://x", "a b", "user@x", "x:port", "x/path"])
def test_a_list_of_hosts_holds_hosts(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_hosts(text)


def test_hosts_are_read_in_lower_case_with_their_ports() -> None:
    assert parse_hosts("Script.Google.com, 127.0.0.1:4000") == (
        "script.google.com",
        "127.0.0.1:4000",
    )
