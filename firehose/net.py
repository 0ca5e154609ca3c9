"""The one HTTP client that goes to addresses which strangers wrote down.

A URL is taken apart strictly (`firehose.address`), its host is resolved by us, every
address is looked at, and the socket goes to an address that was looked at: a name that
answers differently the second time finds no second time. Redirects are followed by hand,
through the same door. Nothing waits longer than `timeout_s` or holds more than `max_bytes`
(rules D8, D9; T34, T35). `download` is for bodies too large to hold: it fills a file. `body` gives one
piece by piece, from where another left off. `request` sends something, and follows nothing. What
they raise is a `FetchFailed` (`firehose.fetch_errors`).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, BinaryIO, Self
from urllib.parse import urlencode, urljoin

import aiohttp
import orjson
from aiohttp.abc import AbstractResolver

from firehose.address import check_address, check_url
from firehose.bodies import nothing, pieces_of, receive, timed_out, translated
from firehose.dns import CheckedResolver, Dns
from firehose.fetch_errors import BadBody, BadStatus, Blocked, TooLarge, TooSlow, Unreachable

MAX_REDIRECTS = 3
MAX_REFUSAL_BYTES = 65_536
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class Streamed:
    """A body too large to hold: `chunks` begins anew with each call, and gives exactly `size` bytes."""

    size: int
    chunks: Callable[[], AsyncIterable[bytes]]


@dataclass(frozen=True, slots=True)
class Body:
    """A body as it comes, from its byte `start` on. Its pieces raise what a download does."""

    start: int
    pieces: AsyncGenerator[bytes]


@dataclass(frozen=True, slots=True)
class Response:
    """Any answer, whatever its status; only that of `request` may be a redirect. `headers` ignore case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str


class GuardedClient:
    """One HTTP session for foreign URLs; use it as an async context manager.

    `resolver` and `ssl_context` replace the system's name resolution and trust store.
    The catch: one blocked address among a host's addresses blocks the host.
    """

    def __init__(
        self,
        allow_loopback: bool = False,
        *,
        resolver: AbstractResolver | None = None,
        ssl_context: ssl.SSLContext | None = None,
        user_agent: str = "plyr",
        max_connections: int = 100,
        max_connections_per_host: int = 8,
    ) -> None:
        self.allow_loopback = allow_loopback
        self._resolver = resolver
        self._ssl_context = ssl_context
        self._user_agent = user_agent
        self._max_connections = max_connections
        self._max_connections_per_host = max_connections_per_host
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(
            resolver=CheckedResolver(self._resolver or Dns(), allow_loopback=self.allow_loopback),
            ssl=self._ssl_context or True,
            limit=self._max_connections,
            limit_per_host=self._max_connections_per_host,
            ttl_dns_cache=60,
            socket_factory=self._open_socket,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
            trust_env=False,
            headers={"User-Agent": self._user_agent, "Accept-Encoding": "identity"},
        )
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def get_bytes(
        self, url: str, *, max_bytes: int, timeout_s: float, accept: str | None = None
    ) -> Response:
        """GET, following at most three redirects, each checked like the first URL.

        `timeout_s` spans everything from the name's resolution to the body's last byte;
        `max_bytes` counts the body after decompression.
        """
        body = bytearray()
        with timed_out(url, timeout_s):
            async with asyncio.timeout(timeout_s), await self._open(url, accept) as response:
                await receive(response, body.extend, max_bytes)
        return _response(response, bytes(body))

    async def get_head(self, url: str, *, timeout_s: float) -> Response:
        """How a GET for the first byte is answered, redirects as in `get_bytes`; the body is left unread."""
        with timed_out(url, timeout_s):
            async with asyncio.timeout(timeout_s):
                response = await self._open(url, None, {"Range": "bytes=0-0"})
        response.close()
        return _response(response, b"")

    async def download(
        self,
        url: str,
        file: BinaryIO,
        *,
        max_bytes: int,
        timeout_s: float,
        idle_s: float,
        min_rate: float = 0,
        accept: str | None = None,
    ) -> Response:
        """GET as `get_bytes`, but the body of a 200 answer goes into `file`; the `Response` has none.

        Of another answer the body's first 64 KiB are in the `Response`, and the file is left alone.
        `TooSlow` when the head, or more of the body, takes longer than `idle_s`, or when after
        `idle_s` the body has come in at less than `min_rate` bytes a second. An `OSError` is the file's.
        The catch: what came before an error stays in the file.
        """
        refusal = bytearray()
        with timed_out(url, timeout_s):
            async with asyncio.timeout(timeout_s):
                with timed_out(url, idle_s, TooSlow):
                    async with asyncio.timeout(idle_s):
                        response = await self._open(url, accept)
                async with response:
                    if response.status == 200:
                        await receive(response, file.write, max_bytes, idle_s, min_rate)
                    else:
                        with suppress(TooLarge):
                            await receive(response, refusal.extend, MAX_REFUSAL_BYTES, idle_s, min_rate)
        return _response(response, bytes(refusal))

    @asynccontextmanager
    async def body(
        self, url: str, *, at: int = 0, max_bytes: int, idle_s: float, min_rate: float = 0
    ) -> AsyncGenerator[Body]:
        """GET as `download`, from byte `at` on where the host can, else from the first; `start` tells. Where
        nothing begins at `at` there is a body without a piece. `max_bytes` counts what is before `at`, too.
        Raises BadStatus. The catch: how long all of it may take is the caller's business."""
        with timed_out(url, idle_s, TooSlow):
            async with asyncio.timeout(idle_s):
                response = await self._open(url, None, {"Range": f"bytes={at}-"} if at else {})
        async with response, AsyncExitStack() as stack:
            if at and response.status == 416:
                yield Body(at, nothing())
                return
            start = at if at and response.status == 206 else 0
            if response.status != (206 if start else 200):
                raise BadStatus(url, response.status, retry_after_s(response.headers))
            encoded = response.headers.get("Content-Encoding", "identity").strip().lower() != "identity"
            told = response.headers.get("Content-Range", "")
            if start and (encoded or not told.startswith(f"bytes {start}-")):
                raise Unreachable(f"{url[:200]}: another part than was asked for")
            pieces = pieces_of(response, max_bytes - start, idle_s, min_rate)
            yield Body(start, await stack.enter_async_context(aclosing(pieces)))

    async def get_json(
        self, url: str, *, max_bytes: int, timeout_s: float, accept: str = "application/json"
    ) -> Any:
        """The JSON body of a 200 answer, whatever content type it claims; else `BadStatus` or `BadBody`."""
        response = await self.get_bytes(url, max_bytes=max_bytes, timeout_s=timeout_s, accept=accept)
        if response.status != 200:
            raise BadStatus(url, response.status, retry_after_s(response.headers))
        try:
            return orjson.loads(response.body)
        except orjson.JSONDecodeError as exc:
            raise BadBody(f"{url}: not JSON: {exc}") from exc

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | Streamed | None = None,
        form: Mapping[str, str] | None = None,
        json: Any = None,
        max_bytes: int,
        timeout_s: float,
    ) -> Response:
        """One request with at most one of `body`, `form` and `json`; its content type is set but for `body`.

        Sent to this URL and nowhere else: a redirect is an answer like any other. The catch: after
        `Unreachable` or `TimedOut` the other side may have done what it was asked, or not.
        """
        sent = dict(headers or {})
        if form is not None:
            body = urlencode(form).encode()
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        elif json is not None:
            body = orjson.dumps(json)
            sent["Content-Type"] = "application/json"
        received = bytearray()
        with timed_out(url, timeout_s):
            async with asyncio.timeout(timeout_s), await self._send(method, url, sent, body) as response:
                await receive(response, received.extend, max_bytes)
        return _response(response, bytes(received))

    async def _open(
        self, url: str, accept: str | None, more: Mapping[str, str] | None = None
    ) -> aiohttp.ClientResponse:
        """The first answer that is no redirect, its body unread; the caller closes it."""
        headers = {"Accept": accept} if accept else {}
        headers.update(more or {})
        asked = url
        for _ in range(MAX_REDIRECTS + 1):
            response = await self._send("GET", asked, headers, None, url)
            location = response.headers.get("Location")
            if response.status not in _REDIRECTS or location is None:
                return response
            response.close()
            asked = urljoin(str(response.url), location).partition("#")[0]
        raise Blocked(f"more than {MAX_REDIRECTS} redirects, the last to {asked[:200]!r}")

    async def _send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | Streamed | None,
        first_url: str = "",
    ) -> aiohttp.ClientResponse:
        """The head of the answer; errors are told of `first_url`, which a caller knows."""
        if self._session is None:
            raise RuntimeError("GuardedClient is not open")
        target = check_url(url, allow_loopback=self.allow_loopback)
        data: bytes | AsyncIterable[bytes] | None
        if isinstance(body, Streamed):
            data, headers = body.chunks(), {**headers, "Content-Length": str(body.size)}
        else:
            data = body
        with translated(first_url or url):
            return await self._session.request(
                method,
                target,
                headers=headers,
                data=data,
                allow_redirects=False,
                skip_auto_headers=("Content-Type",),
            )

    def _open_socket(self, addr_info: tuple[Any, ...]) -> socket.socket:
        """A socket for an address about to be connected to: looked at here once more."""
        family, kind, proto, _, sockaddr = addr_info
        check_address(str(sockaddr[0]), "the host", allow_loopback=self.allow_loopback)
        return socket.socket(family, kind, proto)


def _response(response: aiohttp.ClientResponse, body: bytes) -> Response:
    return Response(response.status, response.headers, body, str(response.url))


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """The seconds of a Retry-After header, or None if it is absent, a date or nonsense."""
    value = headers.get("Retry-After", "").strip()
    return float(value) if value.isascii() and value.isdigit() and len(value) < 10 else None
