"""A ZIP of blobs over HTTP: whole, in parts, taken up again, from both kinds of store."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import aiohttp
import pytest
from aiohttp import web

from appview.media.body import answer
from appview.media.ziplayout import Layout, Member
from appview.media.zipped import ZipBody
from storage.blobs.store import BlobStore, Key
from tests.integration.blobs.conftest import store
from tests.integration.blobs.test_contract import noise, publish

__all__ = ["store"]

WHEN = datetime(2026, 11, 28, tzinfo=UTC)
FILES = {"one.flac": noise(2_000_000), "two.mp3": noise(300_000, 2), "tracks.json": b'{"tracks": []}'}


async def laid_out(blobs: BlobStore) -> Layout[Key | bytes]:
    members: list[Member[Key | bytes]] = []
    for name, data in FILES.items():
        source = data if name.endswith(".json") else await publish(blobs, data)
        members.append(Member(name, len(data), zlib.crc32(data), WHEN, source))
    return Layout(members)


@asynccontextmanager
async def served(blobs: BlobStore, layout: Layout[Key | bytes]) -> AsyncIterator[aiohttp.ClientSession]:
    async def handler(request: web.Request) -> web.StreamResponse:
        body = ZipBody(layout, blobs)
        return await answer(request, body, mime="application/zip", etag=layout.etag, headers={})

    app = web.Application()
    app.router.add_get("/all.zip", handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with aiohttp.ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}") as client:
            yield client
    finally:
        await runner.cleanup()


async def test_all_of_it_has_its_exact_length_and_every_file(store: BlobStore) -> None:
    layout = await laid_out(store)
    async with served(store, layout) as client, client.get("/all.zip") as response:
        assert response.headers["Content-Length"] == str(layout.size)
        data = await response.read()
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        assert file.testzip() is None
        assert {info.filename: file.read(info) for info in file.infolist()} == FILES


async def test_a_download_that_broke_off_goes_on(store: BlobStore) -> None:
    layout = await laid_out(store)
    async with served(store, layout) as client:
        async with client.get("/all.zip") as response:
            whole = await response.read()
        for at in (1, 1_000_000, 2_000_050, layout.size - 10):
            headers = {"Range": f"bytes={at}-", "If-Range": layout.etag}
            async with client.get("/all.zip", headers=headers) as response:
                assert (response.status, await response.read()) == (206, whole[at:])
        async with client.get("/all.zip", headers={"Range": "bytes=5-", "If-Range": '"old"'}) as response:
            assert (response.status, await response.read()) == (200, whole)


async def test_a_blob_that_is_gone_breaks_the_download_off(store: BlobStore) -> None:
    """What came must not look whole."""
    layout = await laid_out(store)
    (lost,) = {
        piece.source
        for piece in layout.pieces(2_100_000, 2_100_001)
        if not isinstance(piece, bytes) and isinstance(piece.source, Key)
    }
    await store.delete(lost)
    async with served(store, layout) as client, client.get("/all.zip") as response:
        assert response.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
