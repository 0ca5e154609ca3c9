"""The appview as `plyr web` builds it, taking uploads on a free port (a child process), or one part of that.

`{do: serve}` also answers POST at another port, which receives and drops; `{do: hash}` and `{do: write}` work
on `bytes` by themselves and tell how long it took.
"""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any

from aiohttp import web

from appview.protocol import make_runner
from bin import logs
from bin.settings import load
from bin.web import application
from lexicons.catalog import Catalog
from storage.blobs.store import Hasher
from tests.bench import children, machine

CHUNK = 65_536


async def work(task: dict[str, Any]) -> None:
    if task["do"] == "serve":
        await _serve(task)
        return
    chunk = os.urandom(CHUNK)
    count = task["bytes"] // CHUNK
    started, before = time.perf_counter(), time.process_time()
    if task["do"] == "hash":
        hasher = Hasher()
        for _ in range(count):
            hasher.update(chunk)
        hasher.digest()
    else:
        _write(Path(task["folder"]) / "alone", chunk, count)
    wall_s, cpu_s = time.perf_counter() - started, time.process_time() - before
    children.say(
        {"n": task["bytes"] >> 20, "wall_s": wall_s, "cpu_s": cpu_s, "peak_bytes": machine.own_peak_bytes()}
    )


def _write(path: Path, chunk: bytes, count: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for _ in range(count):
        os.write(descriptor, chunk)
    os.fsync(descriptor)
    os.close(descriptor)
    path.unlink()


async def _serve(task: dict[str, Any]) -> None:
    async def drop(request: web.Request) -> web.Response:
        async for _ in request.content.iter_any():
            pass
        return web.json_response({})

    settings = load(
        {
            "database_url": task["dsn"],
            "data_dir": task["folder"],
            "blob_dir": task["blobs"],
            "dev_loopback": True,
            "plc_url": "http://localhost:1",  # where no directory is: nothing here asks the network
        },
        {},
    )
    logs.configure(settings.log_format, "error")  # on stderr: stdout is for answers
    bare = web.Application()
    bare.router.add_post("/", drop)
    async with application(settings, Catalog.load()) as app:
        runners = make_runner(app), web.AppRunner(bare, access_log=None)
        ports: list[int] = []
        for runner in runners:
            await runner.setup()
            listener = socket.create_server(("127.0.0.1", 0))
            await web.SockSite(runner, listener).start()
            ports.append(listener.getsockname()[1])
        children.say({"port": ports[0], "drop": ports[1]})
        await children.until_input_closes()
        for runner in runners:
            await runner.cleanup()


if __name__ == "__main__":
    children.main(work)
