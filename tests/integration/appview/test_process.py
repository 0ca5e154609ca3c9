"""`plyr web` as a process: it says where it answers, and stops when told to."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import sys
import tempfile
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import Any

import aiohttp
import orjson
import pytest

from bin.up import CHILD_GRACE_S
from tests.command import plyr


@asynccontextmanager
async def web(database: str, *more: str, **options: Any) -> AsyncIterator[Process]:
    with tempfile.TemporaryDirectory(prefix="plyr-test-") as folder:
        words = ("web", "--database-url", database, "--port", "0", "--data-dir", folder)
        async with plyr(*words, *more, **options) as process:
            yield process


async def address_of(process: Process) -> str:
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), 60)
    assert line.startswith(b"answering at http://127.0.0.1:"), line
    return line.split()[-1].decode()


@pytest.mark.alone
async def test_it_answers_and_stops_when_told_to_even_while_asked(database: str):
    async with web(database) as process, aiohttp.ClientSession() as http:
        address = await address_of(process)
        async with http.get(f"{address}/xrpc/fm.plyr.feed.getLatest") as response:
            assert await response.json() == {"tracks": []}
        # One connection is left open and idle, others are in the middle of a head, of a body, of a feed.
        await http.ws_connect(f"{address.replace('http', 'ws')}/xrpc/fm.plyr.sync.subscribe")
        writers: list[asyncio.StreamWriter] = []
        for half in (
            b"GET /xrpc/fm.plyr.feed.getLatest HTTP/1.1\r\nHost:",
            b"POST /auth/exchange HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{",
        ):
            _, writer = await asyncio.open_connection("127.0.0.1", int(address.rpartition(":")[2]))
            writer.write(half)
            writers.append(writer)
        async with http.get(f"{address}/xrpc/_health") as response:  # behind them
            assert response.status == 200
        started = monotonic()
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0
        assert monotonic() - started < CHILD_GRACE_S
        assert process.stderr is not None
        assert b"Traceback" not in await process.stderr.read()
        for writer in writers:
            writer.close()


async def test_a_supervisor_hears_how_it_goes_and_connections_come_to_an_end_before_files_do(database: str):
    read, write = os.pipe()
    lifeline, hold = os.pipe()

    def few_files() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, 256))

    options = {"stdin": lifeline, "pass_fds": (write,), "preexec_fn": few_files}
    async with web(database, "--status-fd", str(write), **options) as process:
        os.close(write)
        os.close(lifeline)
        with os.fdopen(read, "rb") as lines:
            status = orjson.loads(await asyncio.to_thread(lines.readline))
            assert status["part"] == "web"
            assert status["address"].startswith("http://127.0.0.1:")
            assert status["requests"] == 0
        if sys.platform == "linux":
            assert resource.prlimit(process.pid, resource.RLIMIT_NOFILE)[0] == 256
        host, port = status["address"].removeprefix("http://").split(":")
        streams = [await asyncio.open_connection(host, int(port)) for _ in range(256 // 3 + 1)]
        with suppress(ConnectionError):
            assert await asyncio.wait_for(streams[-1][0].read(), 10) == b""
        streams[0][1].write(b"GET /xrpc/_health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await streams[0][0].readline() == b"HTTP/1.1 200 OK\r\n"
        for _, writer in streams:
            writer.close()
        os.close(hold)
        assert await asyncio.wait_for(process.wait(), 60) == 0


async def test_a_port_that_is_taken_ends_with_one_line(database: str):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        async with web(database, "--port", str(taken.getsockname()[1])) as process:
            _, stderr = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 1
    assert stderr.decode().strip().splitlines()[-1].startswith("plyr: cannot listen on 127.0.0.1:")


@pytest.mark.parametrize("value", ["0", "many"])
async def test_a_wrong_number_of_connections_ends_with_one_line(database: str, value: str):
    async with web(database, "--connections", value) as process:
        _, stderr = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 2
    assert len(stderr.decode().strip().splitlines()) == 1
