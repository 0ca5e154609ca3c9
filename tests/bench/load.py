"""A load generator for one HTTP server (a child process): keep-alive connections, one request at a time each.

It reads just enough of HTTP to know where an answer ends, so that what it costs is small
beside what it measures. Bounded twice: by a number of requests and by a time.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from tests.bench import children


class _Connection(asyncio.Protocol):
    """Sends the next request when the answer to the last is complete."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._buffer = bytearray()
        self._wanted = -1
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._next()

    def _next(self) -> None:
        request = self._run.take()
        if request is None:
            self._transport.close()
            return
        self._sent_at = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._wanted < 0:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self._buffer[:end]).lower()
            length = head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0]
            if not head.startswith(b"http/1.1 200"):
                self._run.failed += 1
            self._wanted = end + 4 + int(length)
        if len(self._buffer) < self._wanted:
            return
        self._run.latencies.append(time.perf_counter() - self._sent_at)
        self._run.received += len(self._buffer)
        self._buffer.clear()
        self._wanted = -1
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        self._run.gone()


class _Run:
    def __init__(self, requests: list[bytes], count: int, deadline: float, connections: int) -> None:
        self.latencies: list[float] = []
        self.failed = 0
        self.received = 0
        self._requests = requests
        self._count = count
        self._taken = 0
        self._deadline = deadline
        self._open = connections
        self.done = asyncio.get_running_loop().create_future()

    def take(self) -> bytes | None:
        if self._taken >= self._count or time.perf_counter() >= self._deadline:
            return None
        request = self._requests[self._taken % len(self._requests)]
        self._taken += 1
        return request

    def gone(self) -> None:
        self._open -= 1
        if self._open == 0 and not self.done.done():
            self.done.set_result(None)


def request_text(path: str, headers: dict[str, str]) -> str:
    """One GET as it goes over the wire."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{lines}\r\n"


async def generate(task: dict[str, Any]) -> None:
    """Answers `{port, requests, count, connections, seconds}` with what came of it."""
    loop = asyncio.get_running_loop()
    requests = [request.encode() for request in task["requests"]]
    started = time.perf_counter()
    run = _Run(requests, task["count"], started + task["seconds"], task["connections"])
    for _ in range(task["connections"]):
        await loop.create_connection(lambda: _Connection(run), "127.0.0.1", task["port"])
    await run.done
    wall_s = time.perf_counter() - started
    latencies = sorted(run.latencies)
    children.say(
        {
            "n": len(latencies),
            "wall_s": wall_s,
            "failed": run.failed,
            "bytes": run.received,
            "p50_ms": latencies[len(latencies) // 2] * 1e3 if latencies else 0,
            "p99_ms": latencies[int(len(latencies) * 0.99)] * 1e3 if latencies else 0,
        }
    )


if __name__ == "__main__":
    children.main(generate)
