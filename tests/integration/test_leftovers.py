"""A test that leaves something open fails itself; one whose things need a moment to close does not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from bin.settings import ROOT

INI = """
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
filterwarnings = error
"""
SMALL = """
import asyncio
import socket

import pytest

class Knot:
    def __init__(self, held):
        self.me, self.held = self, held

def test_socket():
    Knot(socket.socket())

@pytest.fixture(scope="module")
def kept():
    yield (it := socket.socket())
    Knot(it)

async def test_server():
    Knot(await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0))

class Hesitant(asyncio.Protocol):
    def connection_made(self, transport):
        transport.pause_reading()
        asyncio.get_running_loop().call_later(0.3, transport.resume_reading)

async def test_slow_to_close():
    server = await asyncio.get_running_loop().create_server(Hesitant, "127.0.0.1", 0)
    _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(bytes(2**24))
    writer.close()
    await asyncio.sleep(0.1)
    server.close()

async def test_process():
    process = await asyncio.create_subprocess_exec("sleep", "60", stdout=asyncio.subprocess.PIPE)
    process.kill()
    await process.wait()

async def test_nothing(): ...

def test_fixture(kept): ...
"""


def test_what_a_test_leaves_open_fails_that_test(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text(INI)
    (tmp_path / "test_small.py").write_text(SMALL)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environ |= {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    plugins = [f"-p{name}" for name in ("pytest_asyncio.plugin", "tests.leftovers")]
    command = [sys.executable, "-m", "pytest", "-rA", *plugins]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    failed = re.findall(r"^(?:ERROR|FAILED) \S+::(\w+)", done.stdout, re.MULTILINE)
    assert sorted(failed) == ["test_fixture", "test_server", "test_socket"], done.stdout
    assert "6 passed, 3 errors" in done.stdout.splitlines()[-1]
