"""Answers that no honest server gives: without an end, without haste, or with what it was told in them."""

from __future__ import annotations

import asyncio

import orjson
from aiohttp import web

from tests.fakenet.http import Page

PATIENCE_S = 30.0  # of a body that drags on, if its reader has more
HTML = Page(b"<html><body>It works!</body></html>", 200, {"Content-Type": "text/html"})


async def endless(request: web.Request, response: web.StreamResponse) -> None:
    """A body that goes on for as long as somebody reads it."""
    await _drag(request, response, bytes(65536), 0)


async def slow(request: web.Request, response: web.StreamResponse) -> None:
    """A body that comes a byte at a time."""
    await _drag(request, response, b" ", 0.05)


async def silent(request: web.Request, response: web.StreamResponse) -> None:
    """No answer."""
    await asyncio.sleep(PATIENCE_S)


async def echo(request: web.Request, response: web.StreamResponse) -> None:
    """An error that repeats what it was told: as its name, its description and a header."""
    told = await _told(request)
    response.set_status(400)
    response.headers["X-Told"] = response.headers["DPoP-Nonce"] = told[:1000]
    await response.prepare(request)
    await response.write(orjson.dumps({"error": told, "error_description": told}))


async def garbled(request: web.Request, response: web.StreamResponse) -> None:
    """Not HTTP: a header line that nobody can read, with what it was told."""
    assert request.transport is not None
    request.transport.write(f"HTTP/1.1 200 OK\r\nX-Told\0: {await _told(request)}\r\n\r\n".encode())
    await asyncio.sleep(0)
    request.transport.close()


async def _told(request: web.Request) -> str:
    form = await request.post()
    headers = (request.headers.get(name, "") for name in ("DPoP", "Authorization"))
    return " ".join([*(str(value) for value in form.values()), *headers])


async def _drag(request: web.Request, response: web.StreamResponse, piece: bytes, pause_s: float) -> None:
    await response.prepare(request)
    end = asyncio.get_running_loop().time() + PATIENCE_S
    while asyncio.get_running_loop().time() < end:
        await response.write(piece)
        await asyncio.sleep(pause_s)
