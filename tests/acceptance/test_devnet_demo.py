"""`plyr demo`, as a person runs it."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import psutil
import pytest

from tests.acceptance.service import ROOT, until
from tests.devnet.cast import CAST

pytestmark = [pytest.mark.devnet, pytest.mark.slow, pytest.mark.timeout(300)]

READY_S = 90


@asynccontextmanager
async def demo(*arguments: str, **environ: str) -> AsyncIterator[asyncio.subprocess.Process]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PLYR_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bin.cli",
        "demo",
        *arguments,
        cwd=ROOT,
        env=clean | {"PYTHONPATH": str(ROOT)} | environ,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def lines_until(process: asyncio.subprocess.Process, last: str) -> list[str]:
    """What it prints, up to the line that starts with `last`."""
    assert process.stdout is not None
    lines: list[str] = []
    async with asyncio.timeout(READY_S):
        async for line in process.stdout:
            lines.append(line.decode().rstrip())
            if lines[-1].startswith(last):
                return lines
    raise AssertionError("it ended: " + "\n".join(lines))


async def all_gone(processes: list[psutil.Process]) -> None:
    async def gone() -> bool:
        return not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in processes)

    await until(gone, 30, f"these to end: {processes}")


async def test_the_demo_shows_what_its_people_made_and_leaves_nothing_behind() -> None:
    async with demo("--port", "0") as process:
        lines = await lines_until(process, "Ctrl-C")
        urls = [match[0] for line in lines for match in [re.search(r"http://\S+$", line)] if match]
        titles = {song.title for person in CAST for song in person.songs}
        assert len(urls) >= 10
        async with aiohttp.ClientSession() as session:
            for url in urls:
                async with session.get(url) as answer:
                    assert answer.status == 200, url
            latest = next(url for url in urls if "getLatest" in url).partition("?")[0]
            async with session.get(latest) as answer:
                tracks = (await answer.json())["tracks"]
            assert {track["record"]["title"] for track in tracks} == titles
            assert {track["author"]["displayName"] for track in tracks} == {
                person.display_name for person in CAST if person.songs
            }
            async with session.get(tracks[0]["audio"]["url"]) as answer:
                assert (await answer.read())[:4] == b"RIFF"
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 4  # the network, up, ingest, web, Postgres
        stopping = time.monotonic()
        process.send_signal(signal.SIGINT)
        rest = await lines_until(process, "stopped; ")
        assert await process.wait() == 0, rest
        assert time.monotonic() - stopping < 20
        await all_gone(children)


async def test_a_killed_demo_takes_its_children_along() -> None:
    async with demo("--port", "0") as process:
        lines = await lines_until(process, "listening on")
        folders = [match[1] for line in lines for match in [re.search(r" in (\S+)/postgres,", line)] if match]
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        await process.wait()
        assert len(children) > 3
        try:
            await all_gone(children)
        finally:
            shutil.rmtree(folders[0])  # what only a demo that ends by itself can clear away


async def test_without_node_the_demo_says_so_in_one_line(tmp_path: Path) -> None:
    async with demo(PATH=str(tmp_path)) as process:
        output, _ = await process.communicate()
        assert process.returncode == 1
        assert output.decode() == "plyr: the devnet needs Node 20 or newer: `node` was not found on PATH\n"
