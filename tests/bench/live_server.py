"""A live feed on a free port (a child process): ours, or the usual way to write one."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import libipld
import psycopg
from aiohttp import web

from appview.app import build_app, make_reader
from appview.protocol import make_runner
from appview.service import AppConfig
from appview.subscriber import LiveConfig
from lexicons.catalog import Catalog
from storage import outbox
from storage.outbox import CHANNEL
from tests.bench import children


async def serve(task: dict[str, Any]) -> None:
    """Answers until standard input closes."""
    if task["usual"]:
        app = web.Application()
        app.cleanup_ctx.append(_usual(task["dsn"]))
        app.router.add_get("/xrpc/fm.plyr.sync.subscribe", _subscribe)
        await _answer(web.AppRunner(app, access_log=None))
        return
    config = AppConfig(version="bench", live=LiveConfig(max_subscribers=task["subscribers"]))
    async with make_reader(task["dsn"]) as reads:
        app = build_app(reads, Catalog.load(), config, dsn=task["dsn"])
        await _answer(make_runner(app))


async def _answer(runner: web.AppRunner) -> None:
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    await web.SockSite(runner, listener).start()
    children.say({"port": listener.getsockname()[1]})
    await children.until_input_closes()
    await runner.cleanup()


_QUEUES = web.AppKey("queues", set[asyncio.Queue[bytes]])


def _usual(dsn: str):
    """Each event is encoded once and put into a queue for each subscriber."""

    async def follow(app: web.Application):
        app[_QUEUES] = set()
        tailing = asyncio.create_task(tail(app[_QUEUES]))
        yield
        tailing.cancel()

    async def tail(queues: set[asyncio.Queue[bytes]]) -> None:
        async with (
            await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn,
            await psycopg.AsyncConnection.connect(dsn, autocommit=True) as bell,
        ):
            await bell.execute(f"listen {CHANNEL}")
            _, seen = await outbox.bounds(conn)
            async for _ in bell.notifies():
                for batch in await outbox.after(conn, seen, rows=256):
                    for seq, entry in enumerate(batch.entries, batch.first_seq):
                        body = {
                            "seq": seq,
                            "did": entry.did,
                            "rev": entry.rev,
                            "collection": entry.collection,
                            "rkey": entry.rkey,
                            "action": entry.action,
                            "cid": entry.cid,
                            "time": batch.at.isoformat(),
                            "record": libipld.decode_dag_cbor(entry.block or b""),
                        }
                        header = libipld.encode_dag_cbor({"op": 1, "t": "#record"})
                        raw = header + libipld.encode_dag_cbor(body)
                        for queue in queues:
                            queue.put_nowait(raw)
                    seen = batch.last_seq

    return follow


async def _subscribe(request: web.Request) -> web.WebSocketResponse:
    socket_ = web.WebSocketResponse(compress=False)
    await socket_.prepare(request)
    queue: asyncio.Queue[bytes] = asyncio.Queue()
    request.app[_QUEUES].add(queue)
    try:
        while True:
            await socket_.send_bytes(await queue.get())
    except ConnectionError:
        return socket_
    finally:
        request.app[_QUEUES].discard(queue)


if __name__ == "__main__":
    children.main(serve)
