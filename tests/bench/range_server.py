"""Serves the files of a folder on a free port (a child process): ours, or aiohttp's own FileResponse."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiohttp import web

from appview.media.body import answer
from appview.media.open_files import OpenFiles
from appview.media.serve import ALONE, Served, serve
from appview.media.ziplayout import Layout, Member
from appview.media.zipped import ZipBody
from appview.port import listen
from storage.blobs.filesystem import FilesystemStore
from storage.blobs.store import Key
from tests.bench import children


async def serve_files(task: dict[str, Any]) -> None:
    """Answers `/area/hash`, and `/all.zip` for `{zip: {key, size, crc32, count}}`, until its input closes."""
    folder = Path(task["folder"])
    store = FilesystemStore(folder)
    files = OpenFiles(store)

    async def ours(request: web.Request) -> web.StreamResponse:
        return await serve(request, store, Served(Key.parse(request.path[1:]), "audio/mpeg"), ALONE, files)

    async def common(request: web.Request) -> web.StreamResponse:
        path = store.path(Key.parse(request.path[1:]))
        assert path is not None
        return web.FileResponse(path)

    app = web.Application()
    app.router.add_get("/{area}/{hash}", common if task.get("common") else ours)
    if "zip" in task:
        app.router.add_get("/all.zip", _zip_of(store, task["zip"]))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await listen(runner, "127.0.0.1", 0)
    children.say({"port": runner.addresses[0][1]})
    await children.until_input_closes()
    await runner.cleanup()


def _zip_of(store: FilesystemStore, told: dict[str, Any]):
    key, size, crc32 = Key.parse(told["key"]), told["size"], told["crc32"]
    when = datetime(2026, 1, 1, tzinfo=UTC)
    members: list[Member[Key | bytes]] = [
        Member(f"track {number:02d}.mp3", size, crc32, when, key) for number in range(told["count"])
    ]
    layout = Layout(members)

    async def handler(request: web.Request) -> web.StreamResponse:
        body = ZipBody(layout, store)
        return await answer(request, body, mime="application/zip", etag=layout.etag, headers={})

    return handler


if __name__ == "__main__":
    children.main(serve_files)
