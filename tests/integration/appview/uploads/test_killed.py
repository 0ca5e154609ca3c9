"""kill -9 of `plyr web` while something comes in: what comes in parts goes on, all else is collected."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import psycopg
import pytest

from storage.blobs.collector import collect
from storage.blobs.filesystem import FilesystemStore
from storage.sessions import Kind
from tests.integration.appview.test_process import address_of, web
from tests.integration.appview.uploads.studio import ANN, SCOPE, UPLOAD, add_key, bearer
from tests.integration.appview.uploads.test_resumable import TUS, told
from tests.integration.appview.uploads.test_upload_audio import MIB, noise

pytestmark = pytest.mark.once

DAY = timedelta(days=1)
SOUND = noise(4 * MIB)
FORM = {"Content-Type": "multipart/form-data; boundary=x"}
_PART = '--x\r\nContent-Disposition: form-data; name="{}"; filename="a"\r\n\r\n'


async def endless(*parts: bytes) -> AsyncIterator[bytes]:
    """These, and then nothing for ever."""
    for part in parts:
        yield part
    await asyncio.Event().wait()


async def raw(http: aiohttp.ClientSession, key: str) -> None:
    headers = bearer(key) | {"Content-Type": "audio/wav"}
    await http.post(UPLOAD, params={"title": "x"}, data=endless(SOUND), headers=headers)


async def file(http: aiohttp.ClientSession, key: str) -> None:
    data = endless(_PART.format("file").encode(), SOUND)
    await http.post("/tracks/", data=data, headers=bearer(key) | FORM)


async def image(http: aiohttp.ClientSession, key: str) -> None:
    """In the middle of the second of two files."""
    head = _PART.format("file").encode() + SOUND + b"\r\n" + _PART.format("image").encode()
    await http.post("/tracks/", data=endless(head, SOUND), headers=bearer(key) | FORM)


@pytest.mark.parametrize(("way", "rows"), [(raw, 1), (file, 1), (image, 2)])
async def test_what_was_coming_in_goes_with_the_collector(
    database: str,
    tmp_path: Path,
    way: Callable[[aiohttp.ClientSession, str], Coroutine[None, None, None]],
    rows: int,
) -> None:
    key = await add_key(database, ANN, scope=SCOPE, granted=True, kind=Kind.TOKEN)
    blobs = tmp_path / "blobs"
    async with (
        web(database, "--blob-dir", str(blobs)) as process,
        aiohttp.ClientSession(await address_of(process)) as http,
    ):
        sending = asyncio.create_task(way(http, key))
        staged = blobs / "staged"
        async with asyncio.timeout(60):
            while sum(path.stat().st_size > MIB for path in staged.iterdir()) < rows:
                await asyncio.sleep(0.02)
        process.kill()
        await process.wait()
        with contextlib.suppress(aiohttp.ClientError):
            await sending
    assert len(list(staged.iterdir())) == rows
    for path in staged.iterdir():
        os.utime(path, (0, 0))
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as conn:
        await conn.execute("update staged_upload set touched_at = now() - interval '2 days'")
        store = FilesystemStore(blobs)
        done = await collect(conn, store, grace=DAY, keep=DAY, now=datetime.now(UTC))
        assert done.uploads == rows
        assert await (await conn.execute("select name from staged_upload")).fetchall() == []
        assert await (await conn.execute("select id from job")).fetchall() == []
    assert list(staged.iterdir()) == []


async def test_an_upload_in_parts_goes_on_in_the_next_process(database: str, tmp_path: Path) -> None:
    key = await add_key(database, ANN, scope=SCOPE, granted=True, kind=Kind.TOKEN)
    headers = TUS | bearer(key)
    part = {"Content-Type": "application/offset+octet-stream"}
    blobs = tmp_path / "blobs"
    async with (
        web(database, "--blob-dir", str(blobs)) as process,
        aiohttp.ClientSession(await address_of(process)) as http,
    ):
        more = {"Upload-Length": str(len(SOUND)), "Upload-Metadata": told(title="x")}
        async with http.post("/uploads", headers=headers | more) as response:
            place = response.headers["Location"]
        begun = headers | part | {"Upload-Offset": "0"}
        sending = asyncio.create_task(http.patch(place, data=endless(SOUND[:-MIB]), headers=begun))
        name = blobs / "staged" / place.rpartition("/")[2]
        async with asyncio.timeout(60):
            while not name.exists() or name.stat().st_size < len(SOUND) - MIB:
                await asyncio.sleep(0.02)
        process.kill()
        await process.wait()
        with contextlib.suppress(aiohttp.ClientError):
            await sending
    async with (
        web(database, "--blob-dir", str(blobs)) as process,
        aiohttp.ClientSession(await address_of(process)) as http,
        await psycopg.AsyncConnection.connect(database, autocommit=True) as conn,
    ):
        async with http.head(place, headers=headers) as response:
            offset = int(response.headers["Upload-Offset"])
        assert offset == len(SOUND) - MIB
        again = headers | part | {"Upload-Offset": str(offset)}
        async with http.patch(place, data=SOUND[offset:], headers=again) as response:
            assert response.status == 423  # until the lease of the dead has run out
        await conn.execute("update staged_upload set lease_until = now() - interval '1 second'")
        async with http.patch(place, data=SOUND[offset:], headers=again) as response:
            assert response.status == 204
            assert response.headers["Upload-Job"]
    assert name.read_bytes() == SOUND
