"""`fm.plyr.sync.subscribe`: verified events to many subscribers, from the outbox.

Contract: a subscriber gets every message that it wants above its cursor, in order of seq, each once,
or its connection ends with a reason, and the next one goes on from the last seq that it received:

    cursor 41 ──▶ pages of the outbox 42 … 90 ──▶ the ring 91 … ──▶ as it happens
                  (read for this one alone)       (shared)

One task reads the outbox and writes each event once into the ring (`appview.tail`), another hands
chunks of it to everybody who has room. Both start with the first subscriber.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from time import process_time
from typing import Any

import structlog
from aiohttp import web

from appview import loops, messages
from appview.audience import Audience
from appview.messages import Form, Wanted
from appview.metrics import Metrics
from appview.ring import Ring
from appview.subscriber import FUTURE_CURSOR, NOT_NOW, TOO_SLOW, LiveConfig, Subscriber
from appview.tail import POLL_S, Tail, wait
from storage import live
from storage.reader import Reads, TimedOut, Unavailable

log = structlog.get_logger()

_BEGIN_S = 5.0  # for the first subscriber to wait until the ring is there
_RETRY_S = 0.02  # until those without room are tried again
_PAGES = 4  # read at once for all who catch up: the rest of the server reads too


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
        self._tail: Tail | None = None
        self._ready = asyncio.Event()
        self._bell = asyncio.Event()
        self._grown = asyncio.Event()
        self._audience = Audience(config, metrics, metrics.subscribers)
        self._following: set[Subscriber] = set()  # those of them who caught up with the ring
        self._pages = asyncio.Semaphore(_PAGES)
        self._task: asyncio.Task[None] | None = None

    async def handle(self, request: web.Request, params: Mapping[str, Any]) -> web.StreamResponse:
        """Serves one subscriber until its end. Before that, raises InvalidRequest, Unavailable or
        TooManySubscribers."""
        socket = self._audience.socket(request)
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        # Read before the handshake, so whatever is committed after that is told.
        head = (await self._first_tail()).ring.head
        wanted = Wanted(
            Form(params["format"]),
            frozenset(params.get("collections", ())),
            frozenset(params.get("dids", ())),
        )
        cursor = params.get("cursor", head)
        await self._audience.serve(request, socket, wanted, lambda them: self._catch_up(them, cursor))
        return socket

    async def stop(self) -> None:
        """Tell everybody that the server stops, and end the tasks."""
        self._audience.stop()
        if self._task is not None:
            await loops.end(self._task)

    async def _first_tail(self) -> Tail:
        """The tail, once there is one. Raises Unavailable."""
        await wait(self._ready, _BEGIN_S)
        return self._require_tail()

    async def _catch_up(self, subscriber: Subscriber, cursor: int) -> None:
        """Everything above the cursor that the ring does not have any more; then follow the ring."""
        try:
            if cursor > self._require_tail().ring.head and cursor > await live.head(self._reads):
                subscriber.end(FUTURE_CURSOR)
                return
            subscriber.seq = cursor
            whole = cursor > 0  # 0 asks for whatever there is
            while True:
                ring = self._require_tail().ring
                if ring.head < subscriber.seq:  # another process of ours is a moment ahead
                    await asyncio.sleep(_RETRY_S)
                    continue
                number = ring.number_after(subscriber.seq)
                if number is not None:
                    break
                whole = await self._page(subscriber, whole)
            subscriber.number = number
            self._following.add(subscriber)
            subscriber.ended.add_done_callback(lambda _: self._following.discard(subscriber))
            self._grown.set()
        except (Unavailable, TimedOut):
            subscriber.end(NOT_NOW)

    async def _page(self, subscriber: Subscriber, whole: bool) -> bool:
        """Sends the next stretch of the outbox; tells once if something before it is gone."""
        async with self._pages:
            batches = await live.after(self._reads, subscriber.seq)
        tail = self._require_tail()
        first = batches[0].first_seq if batches else tail.ring.floor + 1
        if whole and first > subscriber.seq + 1:
            subscriber.tell(messages.outdated(), self._namespace, self._now())
            whole = False
        if not batches:
            subscriber.seq = tail.ring.floor
        for batch in batches:
            for frames in tail.frames(batch, subscriber.seq, subscriber.wanted):
                await subscriber.until_room()
                subscriber.write(frames, self._now())
            subscriber.seq = batch.last_seq
            await asyncio.sleep(0)
        return whole

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
            self._tail = None
            self._audience.end(NOT_NOW)
            await asyncio.sleep(POLL_S)

    async def _follow(self) -> None:
        """Until the outbox does not continue what was read of it. Raises what the first reads raise."""
        tail = self._tail = await Tail.begin(self._reads, self._namespace, self._config)
        self._ready.set()
        async with asyncio.TaskGroup() as tasks:
            others = [tasks.create_task(self._deliver(tail.ring))]
            if self._dsn is not None:
                others.append(tasks.create_task(live.listen(self._dsn, self._bell)))
            await tail.follow(self._bell, self._grown)
            for task in others:
                task.cancel()

    async def _deliver(self, ring: Ring) -> None:
        """Hands out what the ring has, as far as there is room; looks again soon where there was none.

        What costs is the number of writes, not of messages. So the more subscribers there are, the longer
        it waits for the next messages: all rounds take no more than a twentieth of the process's time.
        """
        while True:
            self._grown.clear()
            self._metrics.live_seq.set(ring.head)
            now, started = self._now(), process_time()
            without_room = [each for each in self._following if not self._hand_over(each, ring, now)]
            spent_s = process_time() - started
            await asyncio.sleep(min(max(19 * spent_s, self._config.coalesce_s), self._config.most_delay_s))
            await wait(self._grown, _RETRY_S if without_room else POLL_S)

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

    def _require_tail(self) -> Tail:
        if self._tail is None:
            raise Unavailable("the live feed begins anew")
        return self._tail

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
