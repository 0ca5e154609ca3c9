"""Questions to name servers: addresses for the guarded client, each looked at, TXT records for handles.

Without threads, unlike `getaddrinfo`: a slow name server delays its own question and no other.
"""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING

from aiohttp.abc import AbstractResolver, ResolveResult

from firehose.address import check_address, is_loopback_host

if TYPE_CHECKING:  # it is loaded with the first question, not with the process
    import dns.asyncresolver


class DnsFailed(OSError):
    """No name server answered, or none that was asked knew: nothing is known about the name."""


class NoSuchName(OSError):
    """The name certainly has no address."""


class Dns(AbstractResolver):
    """DNS without threads: a slow name server delays its own question and no other.

    The configuration of the machine is read again every minute; `resolver` replaces it.
    """

    def __init__(
        self, resolver: dns.asyncresolver.Resolver | None = None, *, lifetime_s: float = 5.0
    ) -> None:
        self._given = resolver
        self._lifetime_s = lifetime_s
        self._configured: tuple[float, dns.asyncresolver.Resolver] | None = None

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """All addresses of a host, IPv4 first. Raises `NoSuchName` or `DnsFailed`."""
        kinds = [(socket.AF_INET, "A"), (socket.AF_INET6, "AAAA")]
        asked = [kind for kind in kinds if family in (socket.AF_UNSPEC, kind[0])]
        answers = await asyncio.gather(*(self._ask(host, kind) for _, kind in asked), return_exceptions=True)
        found: list[ResolveResult] = []
        failure: DnsFailed | None = None
        for (af, _), answer in zip(asked, answers, strict=True):
            if isinstance(answer, DnsFailed):
                failure = answer
                continue
            if isinstance(answer, BaseException):
                raise answer
            found.extend(
                ResolveResult(
                    hostname=host, host=address, port=port, family=af, proto=0, flags=socket.AI_NUMERICHOST
                )
                for address in answer
            )
        if not found:
            raise failure or NoSuchName(f"no address for {host}")
        return found

    async def txt(self, name: str) -> list[str]:
        """The TXT records of a name, each joined to one string; none if there is no such name.

        Raises `DnsFailed` when it cannot be known.
        """
        return await self._ask(name, "TXT")

    async def close(self) -> None:
        """Nothing to close: each question has its own socket."""

    async def _ask(self, name: str, kind: str) -> list[str]:
        import dns.exception
        import dns.name
        import dns.resolver

        try:
            absolute = dns.name.from_text(name)
        except (dns.name.LabelTooLong, dns.name.NameTooLong, dns.name.EmptyLabel):
            return []
        try:
            answer = await self._resolver().resolve(absolute, kind, lifetime=self._lifetime_s)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return []
        except (dns.exception.DNSException, OSError) as exc:
            raise DnsFailed(f"DNS {kind} {name}: {exc}") from exc
        if kind == "TXT":
            return [b"".join(row.strings).decode("utf-8", "replace") for row in answer]
        return [str(row.address) for row in answer]

    def _resolver(self) -> dns.asyncresolver.Resolver:
        if self._given is not None:
            return self._given
        import dns.asyncresolver

        now = time.monotonic()
        if self._configured is None or now - self._configured[0] > 60:
            self._configured = (now, dns.asyncresolver.Resolver())
        return self._configured[1]


class CheckedResolver(AbstractResolver):
    """Answers only if every address of the host is one that we may go to."""

    def __init__(self, inner: AbstractResolver, *, allow_loopback: bool) -> None:
        self._inner = inner
        self._allow_loopback = allow_loopback

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        if is_loopback_host(host):
            # Never a question for a name server, which might answer with something else.
            pairs = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
            return [
                ResolveResult(hostname=host, host=ip, port=port, family=af, proto=0, flags=0)
                for af, ip in pairs
            ]
        found = await self._inner.resolve(host, port, family)
        for result in found:
            check_address(result["host"], host, allow_loopback=self._allow_loopback)
        return found

    async def close(self) -> None:
        await self._inner.close()
