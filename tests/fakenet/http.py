"""Foreign web servers, all on one port of this machine: PLC directory, did:web hosts, handles' hosts.

    async with FakeWeb(authority) as web:
        web.pages["https://alice.plyr-test.dev/.well-known/atproto-did"] = Page(b"did:plc:…")
        client = GuardedClient(allow_loopback=True, resolver=web.names, ssl_context=authority.client_context)

`web.names` leads every host of an https page to the port with TLS; pages under `web.origin` are
served by plain http. A page is an answer, or a function that writes one as badly as it likes.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import orjson
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from firehose.dns import NoSuchName
from tests.fakenet.tls import Authority

HOSTS = "*.plyr-test.dev"


@dataclass(frozen=True)
class Page:
    """One answer; `delay_s` before it."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    delay_s: float = 0


def json_page(value: Any, status: int = 200) -> Page:
    return Page(orjson.dumps(value), status, {"Content-Type": "application/json"})


def redirect(location: str, status: int = 302) -> Page:
    return Page(b"", status, {"Location": location})


Writer = Callable[[web.Request, web.StreamResponse], Awaitable[None]]


class Names(AbstractResolver):
    """A name service from a table of `host: [(address, port or None)]`, which counts questions."""

    def __init__(self) -> None:
        self.table: dict[str, list[tuple[str, int | None]]] = {}
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        self.asked.append(host)
        if host not in self.table:
            raise NoSuchName(host)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=another or port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=0,
            )
            for address, another in self.table[host]
        ]

    async def close(self) -> None: ...


class FakeWeb:
    """A plain and a TLS port with the same `pages`; `requests` are the URLs asked for, in order.
    `hosts`: what the certificate names besides HOSTS."""

    def __init__(self, authority: Authority, *hosts: str) -> None:
        self._hosts = hosts
        self._authority = authority
        self._runner: web.ServerRunner | None = None
        self._tls_port = 0
        self.pages: dict[str, Page | Writer] = {}
        self.requests: list[str] = []
        self.headers: list[Mapping[str, str]] = []
        self.at_once = 0
        self.most_at_once = 0
        self.names = Names()
        self.origin = ""

    async def __aenter__(self) -> Self:
        self._runner = web.ServerRunner(web.Server(self._answer), shutdown_timeout=0.1)
        await self._runner.setup()
        plain = web.TCPSite(self._runner, "127.0.0.1", 0)
        tls = web.TCPSite(
            self._runner,
            "127.0.0.1",
            0,
            ssl_context=self._authority.server_context("localhost", "127.0.0.1", HOSTS, *self._hosts),
        )
        await plain.start()
        await tls.start()
        port, self._tls_port = (address[1] for address in self._runner.addresses)
        self.origin = f"http://localhost:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    def host(self, name: str) -> str:
        """Make `name`, which is one of `hosts` or one label below plyr-test.dev, lead here; gives its https
        origin."""
        self.names.table[name] = [("127.0.0.1", self._tls_port)]
        return f"https://{name}"

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        url = f"{request.scheme}://{request.host}{request.path_qs}".replace(":443/", "/")
        self.requests.append(url)
        self.headers.append(request.headers)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            page = self.pages.get(url, Page(b"nothing here", 404))
            if not isinstance(page, Page):
                response = web.StreamResponse()
                await page(request, response)  # type: ignore[arg-type]
                return response
            if page.delay_s:
                await asyncio.sleep(page.delay_s)
            return web.Response(body=page.body, status=page.status, headers=page.headers)
        finally:
            self.at_once -= 1

    def asked(self, part: str) -> int:
        """How many requests had `part` in their URL's host or path."""
        return sum(part in urlsplit(url)._replace(query="").geturl() for url in self.requests)
