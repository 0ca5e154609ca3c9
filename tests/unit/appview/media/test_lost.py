"""appview/media/sendfile.py: a client that is out of reach is one that left, and no failure of ours."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from pathlib import Path

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from appview.media.body import answer
from appview.media.open_files import OpenFile
from appview.protocol import make_runner
from appview.rest.answers import rest


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can be told when to give a client up")
async def test_a_client_that_the_kernel_gives_up_is_told_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It takes nothing, so that the connection ends with ETIMEDOUT, as when its network is gone."""
    path = tmp_path / "sound"
    path.write_bytes(bytes(8 << 20))
    ended = asyncio.Event()

    async def sound(request: web.Request) -> web.StreamResponse:
        try:
            return await answer(request, OpenFile(path), mime="audio/flac", etag='"a"', headers={})
        finally:
            ended.set()

    app = web.Application()
    app.router.add_get("/", rest(sound))
    runner = make_runner(app)
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 100)  # whom it accepts has it, too
    await web.SockSite(runner, listener).start()
    with socket.socket() as client, capture_logs() as logs, caplog.at_level(logging.INFO):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(listener.getsockname())
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.wait_for(ended.wait(), 30)
        await runner.cleanup()
    assert logs == []
    assert caplog.records == []
