from __future__ import annotations

import asyncio
import socket
import time

import pytest

from bin.settings import environment, load
from bin.supervisor import Part, PartState, Supervisor, Unusable


async def until(seen: list[str], text: str) -> None:
    async with asyncio.timeout(60):
        while not any(text in line for line in seen):
            await asyncio.sleep(0.02)


async def test_a_child_whose_settings_are_wrong_is_not_started_again() -> None:
    said: list[str] = []
    part = Part("web")
    with pytest.raises(Unusable, match="web"):
        await Supervisor(part, {"PLYR_PORT": "http"}, said.append).run()
    assert part.starts == 1
    assert [line for line in said if line.startswith("plyr: PLYR_PORT: ")]


async def test_a_child_that_fails_is_started_again_after_growing_waits(database: str) -> None:
    said: list[str] = []
    part = Part("web")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = load({"database_url": database, "port": str(taken.getsockname()[1])}, {})
        supervisor = Supervisor(part, environment(settings), said.append)
        running = asyncio.create_task(supervisor.run())
        for wait_s in (1, 2, 4):
            await until(said, f"web failed with exit code 1, starting it again in {wait_s} s")
    assert part.state is PartState.WAITING
    assert part.starts == 3
    began = time.monotonic()
    supervisor.stop()
    await running
    assert time.monotonic() - began < 3
    assert part.state is PartState.STOPPED


async def test_a_child_reports_and_ends_when_it_is_told_to(database: str) -> None:
    said: list[str] = []
    part = Part("web")
    settings = load({"database_url": database, "port": "0"}, {})
    supervisor = Supervisor(part, environment(settings), said.append)
    running = asyncio.create_task(supervisor.run())
    async with asyncio.timeout(60):
        while part.state is not PartState.RUNNING:
            await asyncio.sleep(0.02)
    assert part.status.get("address", "").startswith("http://127.0.0.1:")
    supervisor.stop()
    async with asyncio.timeout(60):
        await running
    assert (part.state, part.starts) == (PartState.STOPPED, 1)
