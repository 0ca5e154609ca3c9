"""Which client a request comes from, as an address that limits can count by and a log can hold.

Behind a proxy every request comes from the proxy, and `X-Forwarded-For` says from whom it has it. Anyone can
write that header, so it is read from its end, and only as far as addresses of proxies of ours go:

    peer 127.0.0.1 (ours), X-Forwarded-For: 198.51.100.7, 203.0.113.9    →  203.0.113.9
    peer 203.0.113.9, X-Forwarded-For: 198.51.100.7                      →  203.0.113.9
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from aiohttp import web

# What a Host header may be.
_HOST = re.compile(r"[a-zA-Z0-9.-]+(:\d{1,5})?|\[[0-9a-fA-F:]+\](:\d{1,5})?")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
FORWARDED_FOR = "X-Forwarded-For"


class Clients:
    """Knows our proxies from everybody else. `proxies` are networks of theirs."""

    def __init__(self, proxies: Iterable[Network] = ()) -> None:
        self._proxies = tuple(proxies)
        self._one = lru_cache(maxsize=4096)(self._read)

    def address(self, request: web.BaseRequest) -> str | None:
        """The client's address; None for a proxy of ours, or this machine, that speaks for itself."""
        address, ours = self._one(request.remote or "")
        if not ours:
            return address
        forwarded = request.headers.getall(FORWARDED_FOR, ())
        return self._behind(forwarded) if forwarded else None

    def _behind(self, forwarded: Sequence[str]) -> str | None:
        for text in reversed(",".join(forwarded).split(",")):
            address, ours = self._one(text.strip()[:64])
            if not ours:
                return address
        return None

    def _read(self, text: str) -> tuple[str, bool]:
        """The address as one client's, and whether it is a proxy of ours. What is no address is nobody's."""
        try:
            ip = ipaddress.ip_address(text)
        except ValueError:
            return "unknown", False
        if isinstance(ip, ipaddress.IPv6Address):
            if ip.ipv4_mapped is not None:
                ip = ip.ipv4_mapped
            elif not any(ip in network for network in self._proxies):
                # One customer of an access provider has at least a /64.
                return str(ipaddress.IPv6Network((ip, 64), strict=False)), False
        return str(ip), any(ip in network for network in self._proxies)


def origin_of(request: web.BaseRequest) -> str:
    """The address under which whoever asks reaches us, as they say. A Host header is anybody's text."""
    host = request.host if _HOST.fullmatch(request.host) else "localhost"
    return f"http://{host}"
