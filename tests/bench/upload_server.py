"""Takes uploads into a blob store on a free port (a child process), or does one part of that by itself.

`{do: serve}` answers POST /raw, /multipart and /drop; `{do: hash}` and `{do: write}` work on `bytes` by
themselves and tell how long it took.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from aiohttp import BodyPartReader, web

from storage.blobs.filesystem import FilesystemStore
from storage.blobs.store import Hasher
from tests.bench import children, machine

CHUNK = 65_536


async def work(task: dict[str, Any]) -> None:
    if task["do"] == "serve":
        await _serve(FilesystemStore(Path(task["folder"])))
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


async def _serve(store: FilesystemStore) -> None:
    async def raw(request: web.Request) -> web.Response:
        digest = await store.stage("raw", request.content.iter_any(), size=request.content_length)
        return web.json_response({"sha256": digest.sha256, "crc32": digest.crc32, "size": digest.size})

    async def multipart(request: web.Request) -> web.Response:
        async for part in await request.multipart():
            assert isinstance(part, BodyPartReader)
            digest = await store.stage("form", _chunks(part))
            return web.json_response({"sha256": digest.sha256, "crc32": digest.crc32, "size": digest.size})
        raise web.HTTPBadRequest

    async def drop(request: web.Request) -> web.Response:
        async for _ in request.content.iter_any():
            pass
        return web.json_response({})

    app = web.Application()
    app.router.add_post("/raw", raw)
    app.router.add_post("/multipart", multipart)
    app.router.add_post("/drop", drop)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, listener).start()
    children.say({"port": listener.getsockname()[1]})
    await children.until_input_closes()
    await runner.cleanup()


async def _chunks(part: BodyPartReader) -> AsyncIterator[bytes]:
    while chunk := await part.read_chunk(CHUNK):
        yield bytes(chunk)


if __name__ == "__main__":
    children.main(work)
