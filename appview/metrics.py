"""What an operator watches: requests and their time, by method, in Prometheus' text form at `/metrics`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)


class Metrics:
    """Counts one application's answers; a registry of its own, so that two can live in a process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "plyr_xrpc_requests", "Answers to XRPC requests.", ("method", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "plyr_xrpc_seconds",
            "Time from a request's headers to its answer.",
            ("method",),
            buckets=BUCKETS_S,
            registry=self._registry,
        )
        self.subscribers = Gauge(
            "plyr_live_subscribers", "Connections of the live feed.", registry=self._registry
        )
        self.label_subscribers = Gauge(
            "plyr_label_subscribers", "Connections of the label stream.", registry=self._registry
        )
        self.live_seq = Gauge(
            "plyr_live_seq", "Seq up to which the live feed has read the outbox.", registry=self._registry
        )
        self.dropped = Counter(
            "plyr_live_dropped", "Subscriptions that we ended.", ("reason",), registry=self._registry
        )
        self.refused = Counter(
            "plyr_refused",
            "Requests of whom we do not let in, by the error's name.",
            ("reason",),
            registry=self._registry,
        )
        self.errors = Counter(
            "plyr_errors",
            "What was logged as an error, by the module or library that said so.",
            ("where",),
            registry=self._registry,
        )
        # Looking a child up by labels costs more than counting.
        self._counters: dict[tuple[str, int], Counter] = {}
        self._timers: dict[str, Histogram] = {}
        self.total = 0

    def answered(self, method: str, status: int, seconds: float) -> None:
        self.total += 1
        counter = self._counters.get((method, status))
        if counter is None:
            counter = self._counters[method, status] = self._requests.labels(method, str(status))
        counter.inc()
        timer = self._timers.get(method)
        if timer is None:
            timer = self._timers[method] = self._seconds.labels(method)
        timer.observe(seconds)

    @contextmanager
    def counting_errors(self) -> Iterator[None]:
        """Whatever is logged as an error within the block counts: no failure is told in another way."""
        root, counter = logging.getLogger(), _ErrorCount(self.errors)
        root.addHandler(counter)
        try:
            yield
        finally:
            root.removeHandler(counter)

    def text(self) -> bytes:
        return generate_latest(self._registry)


class _ErrorCount(logging.Handler):
    def __init__(self, errors: Counter) -> None:
        super().__init__(logging.ERROR)
        self._errors = errors

    def emit(self, record: logging.LogRecord) -> None:
        self._errors.labels(record.name).inc()
