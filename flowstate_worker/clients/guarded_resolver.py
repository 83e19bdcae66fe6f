"""Name resolution that gives out callable addresses only.

The check stands where the connection takes its address from, so that a name which answers
differently the second time (DNS rebinding) cannot pass one check and connect elsewhere.
"""

import socket

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from flowstate_worker.rules.addresses import is_callable_ip, is_loopback


class GuardedResolver(AbstractResolver):
    """`inner`'s answers without private, link-local, mapped and other special addresses."""

    def __init__(self, inner: AbstractResolver | None = None) -> None:
        self._inner = inner or ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Raises OSError when nothing callable is left."""
        results = await self._inner.resolve(host, port, family)
        loopback = is_loopback(host)
        callable_ones = [r for r in results if is_callable_ip(r["host"], loopback=loopback)]
        if not callable_ones:
            raise OSError(f"{host} resolves to no public address")
        return callable_ones

    async def close(self) -> None:
        await self._inner.close()
