"""`plyr web` as a process: it says where it answers, and stops when told to."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import tempfile
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

import aiohttp
import orjson
import pytest

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
        # One connection is left open and idle, another one is in the middle of a request.
        _, writer = await asyncio.open_connection("127.0.0.1", int(address.rpartition(":")[2]))
        writer.write(b"GET /xrpc/fm.plyr.feed.getLatest HTTP/1.1\r\nHost:")
        started = monotonic()
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 5) == 0
        assert monotonic() - started < 4.5
        assert process.stderr is not None
        assert b"Traceback" not in await process.stderr.read()
        writer.close()


async def test_a_supervisor_hears_how_it_goes(database: str):
    read, write = os.pipe()
    lifeline, hold = os.pipe()
    async with web(database, "--status-fd", str(write), stdin=lifeline, pass_fds=(write,)) as process:
        os.close(write)
        os.close(lifeline)
        with os.fdopen(read, "rb") as lines:
            status = orjson.loads(await asyncio.to_thread(lines.readline))
            assert status["part"] == "web"
            assert status["address"].startswith("http://127.0.0.1:")
            assert status["requests"] == 0
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
