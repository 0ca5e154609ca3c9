"""`fm.plyr.sync.subscribe`: verified events to many subscribers, from the outbox.

Contract: a subscriber gets every message that it wants above its cursor, in order of seq, each once,
or its connection ends with a reason, and the next one goes on from the last seq that it received:

    cursor 41 ──▶ pages of the outbox 42 … 90 ──▶ the ring 91 … ──▶ as it happens
                  (read for this one alone)       (shared)

One task reads the outbox and writes each event once (`appview.messages`) into the ring, another hands
chunks of it to everybody who has room. Both start with the first subscriber. Hidden accounts are
followed in the same order: an account that stops being shown is erased from the ring at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from time import process_time
from typing import Any

import structlog
from aiohttp import web

from appview import messages
from appview.errors import InvalidRequest, TooManySubscribers
from appview.messages import Form, Wanted, message_of, standing_after
from appview.metrics import Metrics
from appview.ring import Ring
from appview.subscriber import FUTURE_CURSOR, GOING_AWAY, NOT_NOW, TOO_SLOW, Ending, LiveConfig, Subscriber
from lexicons.syntax import Did
from storage import live
from storage.live import Standing
from storage.outbox import Batch, Kind
from storage.reader import Reads, TimedOut, Unavailable

log = structlog.get_logger()

_BEGIN_S = 5.0  # for the first subscriber to wait until the ring is there
_POLL_S = 1.0  # where nothing rings
_RETRY_S = 0.02  # until those without room are tried again
_PAGE_ROWS = 16
_TAIL_ROWS = 256
_PAGES = 4  # read at once for all who catch up: the rest of the server reads too
_VISIBLE = Standing()


class LiveFeed:
    """All subscribers of one process. `dsn`: where to hear of new events at once; None: ask each second."""

    def __init__(
        self, reads: Reads, dsn: str | None, namespace: str, config: LiveConfig, metrics: Metrics
    ) -> None:
        self._reads = reads
        self._dsn = dsn
        self._namespace = namespace
        self._config = config
        self._metrics = metrics
        self._ring: Ring | None = None
        self._hidden: dict[Did, Standing] = {}
        self._ready = asyncio.Event()
        self._bell = asyncio.Event()
        self._grown = asyncio.Event()
        self._subscribers: set[Subscriber] = set()  # everybody connected
        self._following: set[Subscriber] = set()  # those of them who caught up with the ring
        self._pages = asyncio.Semaphore(_PAGES)
        self._task: asyncio.Task[None] | None = None
        self._taken = 0  # places, of subscribers that are being closed, too
        self._stopping = False

    async def handle(self, request: web.Request, params: Mapping[str, Any]) -> web.StreamResponse:
        """Serves one subscriber until its end. Before that, raises InvalidRequest, Unavailable or
        TooManySubscribers."""
        socket = web.WebSocketResponse(
            autoping=False, compress=False, max_msg_size=4096, timeout=self._config.stall_s
        )
        if not socket.can_prepare(request).ok:
            raise InvalidRequest("This method is a subscription: open a WebSocket")
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        head = await self._head_when_ready()
        if self._stopping or self._taken >= self._config.max_subscribers:
            raise TooManySubscribers
        self._taken += 1
        self._metrics.subscribers.set(self._taken)
        try:
            await self._converse(request, socket, params, params.get("cursor", head))
        finally:
            self._taken -= 1
            self._metrics.subscribers.set(self._taken)
        return socket

    async def _converse(
        self, request: web.Request, socket: web.WebSocketResponse, params: Mapping[str, Any], cursor: int
    ) -> None:
        """From the handshake to the close."""
        transport = request.transport
        await socket.prepare(request)
        if transport is None:
            return
        wanted = Wanted(
            Form(params["format"]),
            frozenset(params.get("collections", ())),
            frozenset(params.get("dids", ())),
        )
        subscriber = Subscriber(socket, transport, wanted, self._config)
        self._subscribers.add(subscriber)
        if self._stopping:
            subscriber.end(GOING_AWAY)
        try:
            await subscriber.close(await self._serve(subscriber, cursor))
        finally:
            self._subscribers.discard(subscriber)
            self._following.discard(subscriber)

    async def stop(self) -> None:
        """Tell everybody that the server stops, and end the tasks."""
        self._stopping = True
        for subscriber in self._subscribers:
            subscriber.end(GOING_AWAY)
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _head_when_ready(self) -> int:
        """The head, once there is a ring: so whatever is committed after a handshake is told.
        Raises Unavailable."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_BEGIN_S):
                await self._ready.wait()
        return self._require_ring().head

    async def _serve(self, subscriber: Subscriber, cursor: int) -> Ending:
        async with asyncio.TaskGroup() as tasks:
            own = [
                tasks.create_task(subscriber.hear()),
                tasks.create_task(self._catch_up(subscriber, cursor)),
            ]
            ending = await subscriber.ended
            for task in own:
                task.cancel()
        # From here on nobody else writes to it.
        self._following.discard(subscriber)
        if ending.name is not None:
            self._metrics.dropped.labels(ending.name).inc()
        return ending

    async def _catch_up(self, subscriber: Subscriber, cursor: int) -> None:
        """Everything above the cursor that the ring does not have any more; then follow the ring."""
        try:
            ring = self._require_ring()
            if cursor > ring.head and cursor > await live.head(self._reads):
                subscriber.end(FUTURE_CURSOR)
                return
            subscriber.seq = cursor
            # 0 asks for whatever there is
            whole = cursor > 0
            while True:
                ring = self._require_ring()
                number = ring.number_after(subscriber.seq) if ring.head >= subscriber.seq else None
                if number is not None:
                    subscriber.number = number
                    self._following.add(subscriber)
                    self._grown.set()
                    return
                if ring.head < subscriber.seq:  # another process of ours is a moment ahead
                    await asyncio.sleep(_RETRY_S)
                    continue
                whole = await self._page(subscriber, ring, whole)
        except (Unavailable, TimedOut):
            subscriber.end(NOT_NOW)

    async def _page(self, subscriber: Subscriber, ring: Ring, whole: bool) -> bool:
        """Sends the next stretch of the outbox; tells once if something before it is gone."""
        async with self._pages:
            batches = await live.after(self._reads, subscriber.seq, rows=_PAGE_ROWS)
        first = batches[0].first_seq if batches else ring.floor + 1
        if whole and first > subscriber.seq + 1:
            subscriber.tell(messages.outdated(), self._namespace, self._now())
            whole = False
        if not batches:
            subscriber.seq = ring.floor
        for batch in batches:
            for frames in self._frames(batch, subscriber):
                await subscriber.until_room()
                subscriber.write(frames, self._now())
            subscriber.seq = batch.last_seq
            await asyncio.sleep(0)
        return whole

    def _frames(self, batch: Batch, subscriber: Subscriber) -> Iterator[bytes]:
        """What the subscriber wants of a batch, in chunks."""
        wanted = subscriber.wanted
        parts: list[bytes] = []
        size = 0
        for seq, entry in enumerate(batch.entries, batch.first_seq):
            if seq <= subscriber.seq or entry.did is None:
                continue
            message = message_of(entry, seq, batch.at, self._hidden.get(entry.did, _VISIBLE))
            if message is None or not wanted.has(message):
                continue
            parts.append(message.frame(wanted.form, self._namespace))
            size += len(parts[-1])
            if size >= self._config.chunk_bytes:
                yield b"".join(parts)
                parts, size = [], 0
        yield b"".join(parts)

    async def _run(self) -> None:
        """Follow the outbox until `stop`. What breaks that ends all subscriptions, not the server."""
        while True:
            try:
                await self._follow()
                log.warning("the outbox does not continue; all subscribers have to begin anew")
            except (Unavailable, TimedOut) as error:
                log.warning("the live feed cannot read", reason=str(error))
            except Exception:
                log.exception("the live feed broke")
            self._ready.clear()
            self._ring = None
            for subscriber in self._subscribers:
                subscriber.end(NOT_NOW)
            await asyncio.sleep(_POLL_S)

    async def _follow(self) -> None:
        """Until the outbox does not continue what was read of it. Raises what the first reads raise."""
        await self._begin()
        async with asyncio.TaskGroup() as tasks:
            others = [tasks.create_task(self._deliver())]
            if self._dsn is not None:
                others.append(tasks.create_task(live.listen(self._dsn, self._bell)))
            await self._read()
            for task in others:
                task.cancel()

    async def _begin(self) -> None:
        """A ring with the latest of the past: who comes back after a restart finds it there."""
        head = await live.head(self._reads)
        self._hidden = await live.hidden(self._reads)
        start = max(0, head - self._config.warm_seqs)
        batches = await live.after(self._reads, start, rows=_TAIL_ROWS)
        floor = batches[0].first_seq - 1 if batches else head
        ring = self._ring = Ring(floor, max_bytes=self._config.ring_bytes, namespace=self._namespace)
        while batches:
            self._take(ring, batches)
            batches = await live.after(self._reads, ring.head, rows=_TAIL_ROWS) if ring.head < head else []
        self._ready.set()

    async def _read(self) -> None:
        """Whatever is added, into the ring. Returns when the outbox does not continue where that ends."""
        ring = self._require_ring()
        while True:
            self._bell.clear()
            try:
                batches = await live.after(self._reads, ring.head, rows=_TAIL_ROWS)
                if not batches and await live.head(self._reads) < ring.head:
                    return
            except (Unavailable, TimedOut) as error:
                log.warning("the live feed cannot read", reason=str(error))
                await asyncio.sleep(_POLL_S)
                continue
            if batches:
                if batches[0].first_seq > ring.head + 1:
                    return
                self._take(ring, batches)
                self._grown.set()
                await asyncio.sleep(self._config.coalesce_s)
            if len(batches) < _TAIL_ROWS:
                await _wait(self._bell, _POLL_S)

    def _take(self, ring: Ring, batches: Sequence[Batch]) -> None:
        for batch in batches:
            for seq, entry in enumerate(batch.entries, batch.first_seq):
                did = entry.did
                if did is None or seq <= ring.head:
                    continue
                standing = self._hidden.get(did, _VISIBLE)
                if entry.kind is Kind.ACCOUNT or entry.kind is Kind.TAKEDOWN:
                    standing = standing_after(entry, standing)
                    if standing.shown:
                        self._hidden.pop(did, None)
                    else:
                        self._hidden[did] = standing
                        ring.erase(did)
                message = message_of(entry, seq, batch.at, standing)
                if message is not None:
                    ring.add(message)
            ring.advance(batch.last_seq)
        self._metrics.live_seq.set(ring.head)

    async def _deliver(self) -> None:
        """Hands out what the ring has, as far as there is room; looks again soon where there was none.

        What costs is the number of writes, not of messages. So the more subscribers there are, the longer
        it waits for the next messages: all rounds take no more than a twentieth of the process's time.
        """
        ring = self._require_ring()
        while True:
            self._grown.clear()
            now, started = self._now(), process_time()
            without_room = [each for each in self._following if not self._hand_over(each, ring, now)]
            spent_s = process_time() - started
            await asyncio.sleep(min(max(19 * spent_s, self._config.coalesce_s), self._config.most_delay_s))
            await _wait(self._grown, _RETRY_S if without_room else _POLL_S)

    def _hand_over(self, subscriber: Subscriber, ring: Ring, now: float) -> bool:
        """True if there is nothing more to hand over now."""
        if subscriber.ended.done():
            return True
        while subscriber.number < ring.end:
            if subscriber.number < ring.base:
                subscriber.end(TOO_SLOW)
                return True
            if not subscriber.has_room(now):
                return False
            frames, subscriber.number = ring.chunk(
                subscriber.wanted, subscriber.number, self._config.chunk_bytes
            )
            subscriber.write(frames, now)
        if subscriber.quiet_for(now) > self._config.ping_s:
            subscriber.tell(messages.position(ring.head, datetime.now(UTC)), self._namespace, now)
        subscriber.keep_alive(now)
        return True

    def _require_ring(self) -> Ring:
        if self._ring is None:
            raise Unavailable("the live feed begins anew")
        return self._ring

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


async def _wait(event: asyncio.Event, timeout_s: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
