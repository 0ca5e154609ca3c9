"""What `plyr web` needs for an upload does not grow with it."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import pytest

from storage.sessions import Kind
from tests.integration.appview.test_process import address_of, web
from tests.integration.appview.uploads.studio import ANN, SCOPE, UPLOAD, add_key, bearer
from tests.integration.appview.uploads.test_resumable import TUS, told
from tests.integration.appview.uploads.test_upload_audio import MIB, noise

SIZE = 300 * MIB
MOST = 64 * MIB
_HEAD = b'--x\r\nContent-Disposition: form-data; name="title"\r\n\r\nx\r\n--x\r\n'
_FILE = b'Content-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
_TAIL = b"\r\n--x--\r\n"


async def body(before: bytes = b"", after: bytes = b"") -> AsyncIterator[bytes]:
    block = noise(MIB)
    yield before
    for _ in range(SIZE // MIB):
        yield block
    yield after


def resident(pid: int, field: str) -> int:
    """VmRSS or VmHWM, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


async def raw(http: aiohttp.ClientSession, key: str) -> aiohttp.ClientResponse:
    headers = bearer(key) | {"Content-Type": "audio/wav", "Content-Length": str(SIZE)}
    return await http.post(UPLOAD, params={"title": "x"}, data=body(), headers=headers)


async def form(http: aiohttp.ClientSession, key: str) -> aiohttp.ClientResponse:
    headers = bearer(key) | {"Content-Type": "multipart/form-data; boundary=x"}
    return await http.post("/tracks/", data=body(_HEAD + _FILE, _TAIL), headers=headers)


async def parts(http: aiohttp.ClientSession, key: str) -> aiohttp.ClientResponse:
    headers = TUS | bearer(key)
    begun = headers | {"Upload-Length": str(SIZE), "Upload-Metadata": told(title="x")}
    async with http.post("/uploads", headers=begun) as response:
        place = response.headers["Location"]
    headers |= {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    return await http.patch(place, data=body(), headers=headers)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize("way", [raw, form, parts])
async def test_300_mib_come_in_within_64(
    database: str, measured: Callable[[str], None], way: Callable[..., Any]
) -> None:
    key = await add_key(database, ANN, scope=SCOPE, granted=True, kind=Kind.TOKEN)
    async with web(database) as process:
        address = await address_of(process)
        async with aiohttp.ClientSession(address) as http:
            small = {"title": "x"}, bearer(key) | {"Content-Type": "audio/wav"}
            async with http.post(UPLOAD, params=small[0], headers=small[1], data=b"x") as response:
                assert response.status == 200
            idle = resident(process.pid, "VmRSS")
            async with await way(http, key) as response:
                assert response.status in (200, 204), await response.text()
        peak = resident(process.pid, "VmHWM")
    async with await psycopg.AsyncConnection.connect(database) as conn:
        rows = await conn.execute(
            "select args ->> 'sha256', args ->> 'bytes' from job order by created_at desc"
        )
        (sha256, size), _ = await rows.fetchall()
    hasher = hashlib.sha256()
    for _ in range(SIZE // MIB):
        hasher.update(noise(MIB))
    assert (sha256, size) == (hasher.hexdigest(), str(SIZE))
    above, name = (peak - idle) / MIB, way.__name__
    measured(f"an upload of {SIZE // MIB} MiB, {name}: {above:.1f} MiB above {idle / MIB:.1f}")
    assert peak - idle <= MOST
