"""The appview as `plyr web` builds it, limits and all (a child process)."""

from __future__ import annotations

import os
import socket
from typing import Any

from aiohttp import web

from appview.protocol import make_runner
from bin import logs
from bin.settings import load
from bin.web import application
from lexicons.catalog import Catalog
from tests.bench import children, profiling


async def serve(task: dict[str, Any]) -> None:
    """Answers on a free port until standard input closes; SIGUSR1 starts and ends a profile."""
    settings = load(
        {
            "database_url": task["dsn"],
            "data_dir": task["folder"],
            "public_url": task["public_url"],
            "rate_limit": 10**9,
            "trusted_proxies": "192.0.2.0",  # nobody's: the load is counted, as clients are
            "dev_loopback": True,
            "plc_url": "http://localhost:1",  # where no directory is: nothing here asks the network
        },
        {},
    )
    logs.configure(settings.log_format, "error")  # on stderr: stdout is for answers
    async with application(settings, Catalog.load()) as app:
        runner = make_runner(app)
        await runner.setup()
        listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        await web.SockSite(runner, listener).start()
        profiling.toggle_by_signal(task["profiled"], "request")
        children.say({"port": listener.getsockname()[1], "pid": os.getpid()})
        await children.until_input_closes()
        await runner.cleanup()


if __name__ == "__main__":
    children.main(serve)
