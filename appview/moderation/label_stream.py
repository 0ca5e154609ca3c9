"""`com.atproto.label.subscribeLabels`: all that we say, to whoever follows.

Contract: a subscriber gets every label above its cursor, in order of seq, each once, or its connection ends
with a reason. There is one way to read, for the past as for what comes: the page after the last seq sent.

    cursor 41 ──▶ 42 … 291 ──▶ 292 … 300 ──▶ wait for the bell ──▶ 301

Seqs are dense and appear in order, so nothing can come in between. Those at the same place share the page.
<https://atproto.com/specs/event-stream>
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import psycopg
import structlog
from aiohttp import web

from appview import loops
from appview.audience import Audience
from appview.auth.keyring import CannotOpen
from appview.messages import Wanted, websocket_frame
from appview.metrics import Metrics
from appview.moderation.labeler import Labeler
from appview.moderation.labels import fields
from appview.subscriber import FUTURE_CURSOR, NOT_NOW, LiveConfig, Subscriber
from appview.tail import POLL_S, wait
from lexicons.dagcbor import encode
from storage import labels, live
from storage.labels import LabelRow
from storage.reader import ReadFailed

log = structlog.get_logger()

PAGE = 250
_MOST_PAGES = 64  # that are kept for others at the same place
_HEADER = encode({"op": 1, "t": "#labels"})
_BINARY = 0x82


class LabelStream:
    """All subscribers of one process. `dsn`: where to hear of new labels at once; None: ask each second."""

    def __init__(self, labeler: Labeler, dsn: str | None, config: LiveConfig, metrics: Metrics) -> None:
        self._labeler = labeler
        self._dsn = dsn
        self._audience = Audience(config, metrics, metrics.label_subscribers)
        self._bell = asyncio.Event()
        self._rung = asyncio.Event()
        self._pages: dict[int, asyncio.Task[tuple[bytes, int]]] = {}
        self._task: asyncio.Task[None] | None = None

    async def handle(self, request: web.Request, params: Mapping[str, Any]) -> web.StreamResponse:
        """Serves one subscriber until its end. Before that, raises InvalidRequest, ReadFailed or
        TooManySubscribers."""
        socket = self._audience.socket(request)
        if self._task is None and not self._audience.stopping:
            self._task = loops.begin("labels", self._listen)
        # Read before the handshake, so whatever is committed after that is told.
        head = await self._labeler.head()
        cursor = params.get("cursor", head)
        await self._audience.serve(request, socket, Wanted(), lambda them: self._send(them, cursor, head))
        return socket

    async def stop(self) -> None:
        """Tell everybody that the server stops, and end the task."""
        self._audience.stop()
        if self._task is not None:
            await loops.end(self._task)

    async def _send(self, subscriber: Subscriber, seq: int, head: int) -> None:
        """Everything after `seq`, for as long as the subscriber is there."""
        if seq > head:
            subscriber.end(FUTURE_CURSOR)
        loop = asyncio.get_running_loop()
        try:
            while not subscriber.ended.done():
                rung = self._rung  # taken before the question: what is rung for meanwhile wakes us
                frames, seq = await self._page(seq)
                await subscriber.until_room()
                if frames:
                    subscriber.write(frames, loop.time())
                else:
                    subscriber.keep_alive(loop.time())
                    await wait(rung, POLL_S)
        except (ReadFailed, psycopg.Error, CannotOpen) as error:
            log.warning("labels cannot be read", reason=str(error))
            subscriber.end(NOT_NOW)

    async def _page(self, seq: int) -> tuple[bytes, int]:
        """The frames after `seq`, and the seq of the last; asked once for all who are there together."""
        task = self._pages.get(seq)
        if task is None or task.done():
            if len(self._pages) >= _MOST_PAGES:
                self._pages.clear()
            task = self._pages[seq] = asyncio.create_task(self._read(seq))
        return await asyncio.shield(task)

    async def _read(self, seq: int) -> tuple[bytes, int]:
        rows = await self._labeler.after(seq, limit=PAGE)
        return b"".join(map(frame, rows)), rows[-1].seq if rows else seq

    async def _listen(self) -> None:
        """Wakes everybody when a label was committed."""
        async with asyncio.TaskGroup() as tasks:
            if self._dsn is not None:
                tasks.create_task(live.listen(self._dsn, self._bell, labels.CHANNEL))
            while True:
                await self._bell.wait()
                self._bell.clear()
                self._pages.clear()
                rung, self._rung = self._rung, asyncio.Event()
                rung.set()


def frame(row: LabelRow) -> bytes:
    """The whole WebSocket message of one label: header and body as DAG-CBOR."""
    body = encode({"seq": row.seq, "labels": [{**fields(row), "sig": row.sig}]})
    return websocket_frame(_BINARY, _HEADER + body)
