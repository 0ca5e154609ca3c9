"""Our side of (d): the appview's own application, with the viewer named by a header (a child process)."""

from __future__ import annotations

import os
import socket
from typing import Any

from aiohttp import web

from appview.app import build_app, make_reader
from appview.service import AppConfig
from appview.viewer import Viewer
from lexicons.catalog import Catalog
from lexicons.syntax import Did
from tests.bench import children, profiling


async def viewer_of(request: web.Request) -> Viewer | None:
    """Who asks. Sign-in is not what is measured here, on either side."""
    did = request.headers.get("x-viewer")
    return None if did is None else Viewer(Did(did))


async def serve(task: dict[str, Any]) -> None:
    """Answers on a free port until standard input closes; SIGUSR1 starts and ends a profile."""
    async with make_reader(task["dsn"]) as reads:
        app = build_app(reads, Catalog.load(), AppConfig(version="bench", viewer_of=viewer_of))
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        await web.SockSite(runner, listener).start()
        profiling.toggle_by_signal(task["profiled"], "request")
        children.say({"port": listener.getsockname()[1], "pid": os.getpid()})
        await children.until_input_closes()
        await runner.cleanup()


if __name__ == "__main__":
    children.main(serve)
