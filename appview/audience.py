"""Those who follow a method over WebSockets: their places, and a connection from its handshake to its close.

socket(request) ─▶ the caller looks how far everything is ─▶ serve(…, feed) ─▶ feed(subscriber) writes
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from aiohttp import web
from prometheus_client import Gauge

from appview.errors import InvalidRequest, TooManySubscribers
from appview.messages import Wanted
from appview.metrics import Metrics
from appview.subscriber import GOING_AWAY, Ending, LiveConfig, Subscriber

Feed = Callable[[Subscriber], Coroutine[Any, Any, None]]


class Audience:
    """In this process. `gauge` tells how many there are."""

    def __init__(self, config: LiveConfig, metrics: Metrics, gauge: Gauge) -> None:
        self.stopping = False
        self._config = config
        self._metrics = metrics
        self._gauge = gauge
        self._subscribers: set[Subscriber] = set()
        self._taken = 0  # places, of subscribers that are being closed, too

    def socket(self, request: web.Request) -> web.WebSocketResponse:
        """For this request, not yet opened. Raises InvalidRequest."""
        socket = web.WebSocketResponse(
            autoping=False, compress=False, max_msg_size=4096, timeout=self._config.stall_s
        )
        if not socket.can_prepare(request).ok:
            raise InvalidRequest("This method is a subscription: open a WebSocket")
        return socket

    async def serve(
        self, request: web.Request, socket: web.WebSocketResponse, wanted: Wanted, feed: Feed
    ) -> None:
        """Opens it, and closes it once the subscriber has ended. Before that, raises TooManySubscribers."""
        if self.stopping or self._taken >= self._config.max_subscribers:
            raise TooManySubscribers
        self._taken += 1
        self._gauge.set(self._taken)
        try:
            await self._converse(request, socket, wanted, feed)
        finally:
            self._taken -= 1
            self._gauge.set(self._taken)

    def end(self, ending: Ending) -> None:
        """Of all who are there now."""
        for subscriber in self._subscribers:
            subscriber.end(ending)

    def stop(self) -> None:
        """Tell everybody that the server stops, and whoever comes from here on."""
        self.stopping = True
        self.end(GOING_AWAY)

    async def _converse(
        self, request: web.Request, socket: web.WebSocketResponse, wanted: Wanted, feed: Feed
    ) -> None:
        transport = request.transport
        try:
            await socket.prepare(request)
        except ConnectionError:  # they left
            return
        if transport is None:
            return
        subscriber = Subscriber(socket, transport, wanted, self._config)
        self._subscribers.add(subscriber)
        if self.stopping:
            subscriber.end(GOING_AWAY)
        try:
            await subscriber.close(await self._ended(subscriber, feed))
        finally:
            self._subscribers.discard(subscriber)

    async def _ended(self, subscriber: Subscriber, feed: Feed) -> Ending:
        async with asyncio.TaskGroup() as tasks:
            own = [tasks.create_task(subscriber.hear()), tasks.create_task(feed(subscriber))]
            ending = await subscriber.ended
            for task in own:
                task.cancel()
        if ending.name is not None:
            self._metrics.dropped.labels(ending.name).inc()
        return ending
