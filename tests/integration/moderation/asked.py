"""A server that answers as AuDD does, in the shapes that its documentation shows, and as it never should."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson
from aiohttp import web

TOKEN = "token-of-ours"


def song(title: str = "Blue Monday", artist: str = "New Order", **more: Any) -> dict[str, Any]:
    about = {
        "score": 0, "timecode": "01:12", "artist": artist, "title": title, "album": "Substance",
        "release_date": "1987-08-17", "label": "Factory", "isrc": "GBAAP8300002",
        "song_link": "https://lis.tn/x", "start_offset": 350, "end_offset": 11_900,
    }  # fmt: skip
    return about | more


def success(result: Any) -> bytes:
    return orjson.dumps({"status": "success", "result": result, "execution_time": "3.1"})


def groups(*parts: tuple[str, list[dict[str, Any]]]) -> bytes:
    return success([{"offset": offset, "songs": songs} for offset, songs in parts])


MATCHED = groups(("00:00", [song()]), ("00:12", [song()]), ("00:24", [song("Elegia")]))


def error(code: int | str, message: str) -> bytes:
    # It repeats what it was asked.
    params = {"api_token": TOKEN, "url": "https://plyr.example/audio/x", "accurate_offsets": "1"}
    about = {"error_code": code, "error_message": message}
    return orjson.dumps({"status": "error", "error": about, "request_params": params})


@dataclass
class Asked:
    """`says`: body and status of an answer; `heard`: the forms of all requests; `fetched`: the sounds that it
    took from the addresses in them, where it `fetches`."""

    body: bytes = field(default_factory=lambda: success(None))
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict[str, str])
    hangs: bool = False
    fetches: bool = False
    meanwhile: Callable[[], Any] | None = None
    heard: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    fetched: list[bytes] = field(default_factory=list[bytes])
    url: str = ""

    def says(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.body, self.status = body, status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.heard.append(form)
        if self.fetches:
            async with aiohttp.ClientSession() as session, session.get(form["url"]) as response:
                assert response.status == 200, response.status
                self.fetched.append(await response.read())
        if self.meanwhile is not None:
            await self.meanwhile()
        if self.hangs:
            await asyncio.sleep(30)
        return web.Response(body=self.body, status=self.status, headers=self.headers)


@asynccontextmanager
async def asked() -> AsyncIterator[Asked]:
    server = Asked()
    app = web.Application()
    app.router.add_post("/", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield server
    finally:
        await runner.cleanup()
