"""One source of frames: where it is, how to stay connected, and how it is doing.

    subscribe → frames … → closed, for whatever reason → wait → subscribe again, from the
    cursor that the caller then names

The contract:
- Frames come in the order and with the content in which they were received, error frames and
  `#info` included. After a reconnect they start at the cursor that the caller named, so frames
  that it had taken and not yet made durable come again: duplicates are the caller's to skip.
- The cursor is asked for at each connect and never remembered here (T24, T25). `SourceStatus`
  shows which one was used, and counts connects: a first seq far below the cursor means that
  the server lost its history, which not every relay says (A8).
- There is a pause before each connect, with full jitter, growing until a connection has
  been healthy for a while; `Retry-After` makes it longer. A close with code 1000 is a close.
- `FutureCursor` is never answered with another cursor of our own making: it is handed on,
  and then there is a long wait, and `last_error` says so.
- A message of the wrong kind, text from a firehose or binary from a Jetstream, is dropped and counted.
  Reconnecting would bring it again.

    async with aclosing(stream(source, lambda: saved, status)) as chunks:
        async for frames in chunks:      # list[bytes], never empty
            …

Lists, because one read brings about fifty frames at full speed: a step of an async generator per
list is lost in the noise (0.01 µs a frame; a callback costs the same, a step per frame 0.08).
"""

from __future__ import annotations

import asyncio
import random
import re
import ssl
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import urlencode, urlsplit

from websockets.exceptions import InvalidStatus, WebSocketException

from firehose.address import is_loopback_host, is_public_address, is_public_hostname
from firehose.events import ErrorFrame
from firehose.frames import BadFrame, decode_frame
from firehose.net import retry_after_s
from firehose.websocket import ConnectionEnded, open_stream
from lexicons.syntax import Nsid

ENDPOINT = "/xrpc/com.atproto.sync.subscribeRepos"
JETSTREAM_ENDPOINT = "/subscribe"
JETSTREAM_PREFIX = "jetstream+"
_SCHEMES = {"wss": "wss", "https": "wss", "ws": "ws", "http": "ws"}
_MAX_ERROR_FRAME_BYTES = 4096


class BadSource(ValueError):
    """The text names no firehose that may be read; the message is one line for the operator."""


class SourceKind(StrEnum):
    """A firehose numbers its frames by seq and proves them. A Jetstream sends JSON without proofs, and
    its cursor is a time in microseconds."""

    FIREHOSE = "firehose"
    JETSTREAM = "jetstream"


@dataclass(frozen=True, slots=True)
class Source:
    """Where events come from. `url` is normalised and complete: its cursor is kept under it (A9)."""

    url: str
    kind: SourceKind = SourceKind.FIREHOSE

    @property
    def origin(self) -> str:
        """Where its host answers over HTTP."""
        return "http" + self.url.removeprefix("ws").removesuffix(ENDPOINT).removesuffix(JETSTREAM_ENDPOINT)

    def address(self, cursor: int | None, collections: Iterable[Nsid] = ()) -> str:
        """What to dial: a Jetstream is asked for these collections, by exact name (T28)."""
        query = [] if cursor is None else [("cursor", str(cursor))]
        if self.kind is SourceKind.JETSTREAM:
            query += [("wantedCollections", nsid) for nsid in sorted(collections)]
        return f"{self.url}?{urlencode(query)}" if query else self.url


def parse_source(text: str) -> Source:
    """The source that an operator means by a host name or URL. Raises `BadSource`.

    `relay.example.net`, `https://relay.example.net/` and the full `wss:` URL are one source.
    `jetstream+` in front, or the path `/subscribe`, makes it a Jetstream. Unencrypted is accepted from
    loopback hosts alone (A17).
    """
    text = text.strip()
    is_jetstream = text.lower().startswith(JETSTREAM_PREFIX)
    if is_jetstream:
        text = text[len(JETSTREAM_PREFIX) :]
    if not re.fullmatch(r"[!-~]{1,2000}", text):
        raise BadSource(f"source is empty, too long, or has odd characters: {text[:80]!r}")
    scheme, separator, rest = text.partition("://")
    if not separator:
        host = urlsplit(f"//{text}").hostname or ""
        scheme, rest = ("ws" if is_loopback_host(host) else "wss"), text
    scheme = _SCHEMES.get(scheme.lower(), "")
    if not scheme:
        raise BadSource(f"source is not a ws:, wss:, http: or https: URL: {text}")
    try:
        parts = urlsplit(f"{scheme}://{rest}")
        host, port = (parts.hostname or "").removesuffix("."), parts.port
    except ValueError as exc:
        raise BadSource(f"source has no valid host: {text} ({exc})") from None
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise BadSource(f"source has a user, query or fragment, where none belongs: {text}")
    path = parts.path.rstrip("/")
    is_jetstream = is_jetstream or path == JETSTREAM_ENDPOINT
    endpoint = JETSTREAM_ENDPOINT if is_jetstream else ENDPOINT
    if path not in ("", endpoint):
        raise BadSource(f"source has another path than {endpoint}: {text}")
    if not (is_public_hostname(host) or is_loopback_host(host) or is_public_address(host)):
        raise BadSource(f"source names no public host: {text}")
    if scheme == "ws" and not is_loopback_host(host):
        raise BadSource(f"source is not encrypted (wss:), and not on this machine: {text}")
    if port == 0:
        raise BadSource(f"source has no valid port: {text}")
    name = f"[{host}]" if ":" in host else host
    default = 443 if scheme == "wss" else 80
    kind = SourceKind.JETSTREAM if is_jetstream else SourceKind.FIREHOSE
    return Source(f"{scheme}://{name}{f':{port}' if port not in (None, default) else ''}{endpoint}", kind)


class SourceState(StrEnum):
    CONNECTING = "connecting"
    CONNECTED = "connected"
    WAITING = "waiting"
    STOPPED = "stopped"


@dataclass(slots=True)
class SourceStatus:
    """How a source is doing; `stream` keeps it up to date. Times are seconds since the epoch.

    `attempts` counts connects since the last healthy connection, `connects` the handshakes that
    succeeded; `cursor` is the one used for the latest connect, None if that was for live frames.
    """

    url: str
    state: SourceState = SourceState.STOPPED
    since: float = field(default_factory=time.time)
    last_error: str | None = None
    attempts: int = 0
    connects: int = 0
    cursor: int | None = None
    next_attempt_at: float | None = None
    frames: int = 0
    bytes: int = 0
    strays: int = 0
    last_frame_at: float | None = None

    def enter(self, state: SourceState) -> None:
        self.state = state
        self.since = time.time()

    def fail(self, error: str) -> None:
        self.last_error = error

    def count(self, chunk: list[bytes], strays: int) -> None:
        if chunk:
            self.last_frame_at = time.time()
            self.frames += len(chunk)
            self.bytes += sum(map(len, chunk))
        if strays > self.strays:
            self.strays = strays
            self.fail("a message of the wrong kind, text or binary, was received and dropped")


@dataclass(frozen=True, slots=True)
class Timing:
    """All waits of a source, in seconds."""

    open_timeout_s: float = 15
    ping_after_s: float = 30
    ping_timeout_s: float = 20
    pause_min_s: float = 0.2
    pause_base_s: float = 1
    pause_cap_s: float = 60
    healthy_after_s: float = 60
    future_cursor_wait_s: float = 900
    retry_after_cap_s: float = 900

    def pause_s(self, failures: int, jitter: float) -> float:
        """The wait before the next connect; `jitter` is a random number in [0, 1)."""
        ceiling = min(self.pause_cap_s, self.pause_base_s * 2.0 ** min(failures, 30))
        return self.pause_min_s + jitter * ceiling


async def stream(
    source: Source,
    cursor: Callable[[], int | None],
    status: SourceStatus | None = None,
    *,
    collections: Iterable[Nsid] = (),
    timing: Timing = Timing(),
    ssl_context: ssl.SSLContext | None = None,
    user_agent: str = "plyr",
    jitter: Callable[[], float] = random.random,
) -> AsyncGenerator[list[bytes], None]:
    """Frames of a source, for ever, in lists as they arrive; it ends only when it is closed.

    `cursor` is called right before each connect: the seq to start at, None for live frames. A Jetstream's
    messages come as the bytes of their JSON, of `collections` alone.
    """
    status = status or SourceStatus(source.url)
    loop = asyncio.get_running_loop()
    failures = 0
    try:
        while True:
            status.enter(SourceState.CONNECTING)
            status.attempts += 1
            status.cursor = at = cursor()
            least_wait_s = 0.0
            opened_at: float | None = None
            frames_before = status.frames
            try:
                connection = await open_stream(
                    source.address(at, collections),
                    open_timeout_s=timing.open_timeout_s,
                    ssl_context=ssl_context,
                    user_agent=user_agent,
                    text=source.kind is SourceKind.JETSTREAM,
                )
                opened_at = loop.time()
                status.enter(SourceState.CONNECTED)
                status.connects += 1
                try:
                    strays_before = status.strays
                    while True:
                        chunk = await connection.next_chunk(
                            ping_after_s=timing.ping_after_s, ping_timeout_s=timing.ping_timeout_s
                        )
                        status.count(chunk, strays_before + connection.strays)
                        if not chunk:
                            continue
                        yield chunk
                        if (error := _error_in(chunk)) is not None:
                            raise _ServerError(error)
                finally:
                    await connection.drop()
            except _ServerError as exc:
                status.fail(str(exc))
                if exc.frame.error == "FutureCursor":
                    least_wait_s = timing.future_cursor_wait_s
                    status.fail(f"{exc}: our cursor {at} is ahead of this server; it is kept, and we wait")
                elif exc.frame.error == "ConsumerTooSlow" and status.frames > frames_before + 1:
                    failures = 0  # it moved on: a growing pause would only put it further behind
            except InvalidStatus as exc:
                code, headers = exc.response.status_code, exc.response.headers
                status.fail(f"refused with HTTP status {code}")
                if code in (429, 503):
                    least_wait_s = min(retry_after_s(headers) or 0.0, timing.retry_after_cap_s)
            except ConnectionEnded as exc:
                status.fail(str(exc))
            except (OSError, WebSocketException) as exc:
                status.fail(f"cannot connect: {exc or type(exc).__name__}")

            if opened_at is not None and loop.time() - opened_at >= timing.healthy_after_s:
                failures = status.attempts = 0
            wait_s = max(least_wait_s, timing.pause_s(failures, jitter()))
            failures += 1
            status.enter(SourceState.WAITING)
            status.next_attempt_at = status.since + wait_s
            await asyncio.sleep(wait_s)
            status.next_attempt_at = None
    finally:
        status.enter(SourceState.STOPPED)


class _ServerError(Exception):
    """The server sent an error frame, its last word."""

    def __init__(self, frame: ErrorFrame) -> None:
        super().__init__(f"{frame.error[:100]}: {(frame.message or 'no message')[:300]}")
        self.frame = frame


def _error_in(chunk: list[bytes]) -> ErrorFrame | None:
    """The error frame at the end of a chunk; nothing follows one, and none is large."""
    last = chunk[-1]
    if len(last) > _MAX_ERROR_FRAME_BYTES:
        return None
    try:
        frame = decode_frame(last)
    except BadFrame:
        return None
    return frame if isinstance(frame, ErrorFrame) else None
