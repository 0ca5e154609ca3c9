"""Blobs over HTTP, as a player asks for them: real sockets, and readers that are slow, or gone."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from shutil import which

import aiohttp
import pytest
from aiohttp import web

from appview.media.body import Outlet, answer
from appview.media.open_files import OpenFiles
from appview.media.serve import ALONE, ServeConfig, Served, serve
from storage.blobs.filesystem import FilesystemStore
from storage.blobs.s3 import S3Store
from storage.blobs.store import Area, BlobStore, Key
from tests.conftest import ROOT, require
from tests.fakenet.tls import Authority
from tests.integration.blobs.test_contract import key_of, publish
from tests.s3.fixtures import two_buckets
from tests.s3.server import Swift

DATA = random.Random(1).randbytes(3_000_001)
KEY = key_of(DATA)


@asynccontextmanager
async def served(
    store: BlobStore, config: ServeConfig = ALONE, *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """A server that shows everything of a store at /area/hash; its address."""
    files = OpenFiles(store)

    async def handler(request: web.Request) -> web.StreamResponse:
        key = Key.parse(request.path.removeprefix("/"))
        wanted = Served(key, "audio/mpeg", request.query.get("filename"))
        return await serve(request, store, wanted, config, files)

    app = web.Application()
    app.router.add_get("/{area}/{hash}", handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        yield f"http{'s' if tls else ''}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.fixture
async def store(tmp_path: Path) -> FilesystemStore:
    made = FilesystemStore(tmp_path / "blobs")
    await publish(made, DATA)
    return made


@pytest.fixture
async def address(store: FilesystemStore) -> AsyncIterator[str]:
    async with served(store) as base:
        yield f"{base}/{KEY}"


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_the_whole_of_it(address: str, client: aiohttp.ClientSession) -> None:
    async with client.get(address) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "audio/mpeg"
        assert answer.headers["Content-Length"] == str(len(DATA))
        assert answer.headers["ETag"] == f'"{KEY.sha256}"'
        assert answer.headers["Accept-Ranges"] == "bytes"
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
        assert await answer.read() == DATA


@pytest.mark.parametrize(
    ("text", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=1000-66535", 1000, 66_536),
        ("bytes=2999999-", 2_999_999, 3_000_001),
        ("bytes=-70000", 2_930_001, 3_000_001),
    ],
)
async def test_a_part_of_it(
    address: str, client: aiohttp.ClientSession, text: str, start: int, stop: int
) -> None:
    for _ in range(3):  # on the same connection
        async with client.get(address, headers={"Range": text}) as answer:
            assert answer.status == 206
            assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(DATA)}"
            assert answer.headers["Content-Length"] == str(stop - start)
            assert await answer.read() == DATA[start:stop]


async def test_several_parts_come_as_a_multipart(address: str, client: aiohttp.ClientSession) -> None:
    async with client.get(address, headers={"Range": "bytes=5-9,0-99999,-3"}) as answer:
        assert answer.status == 206
        assert int(answer.headers["Content-Length"]) == len(await answer.read())
    async with client.get(address, headers={"Range": "bytes=5-9,0-99999,-3"}) as answer:
        reader = aiohttp.MultipartReader.from_response(answer)
        parts = []
        while (part := await reader.next()) is not None:
            assert isinstance(part, aiohttp.BodyPartReader)
            parts.append((part.headers["Content-Range"], bytes(await part.read())))
    assert parts == [
        ("bytes 5-9/3000001", DATA[5:10]),
        ("bytes 0-99999/3000001", DATA[:100_000]),
        ("bytes 2999998-3000000/3000001", DATA[-3:]),
    ]


async def test_nothing_of_what_is_wanted(address: str, client: aiohttp.ClientSession) -> None:
    async with client.get(address, headers={"Range": "bytes=3000001-"}) as answer:
        assert (answer.status, await answer.read()) == (416, b"")
        assert answer.headers["Content-Range"] == "bytes */3000001"


async def test_what_the_client_has_already(address: str, client: aiohttp.ClientSession) -> None:
    async with client.get(address, headers={"If-None-Match": f'"{KEY.sha256}"'}) as answer:
        assert (answer.status, await answer.read()) == (304, b"")


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=10-19"}])
async def test_the_head_alone(address: str, client: aiohttp.ClientSession, headers: dict[str, str]) -> None:
    async with client.get(address, headers=headers) as whole, client.head(address, headers=headers) as head:
        assert (await head.read(), head.status) == (b"", whole.status)
        told = {name: value for name, value in head.headers.items() if name != "Date"}
        assert told == {name: value for name, value in whole.headers.items() if name != "Date"}


async def test_what_is_gone_is_not_found(
    address: str, store: FilesystemStore, client: aiohttp.ClientSession
) -> None:
    await store.delete(KEY)
    async with client.get(address) as answer:
        assert answer.status == 404


async def test_what_was_just_listened_to_is_soon_gone_when_it_is_removed(
    address: str, store: FilesystemStore, client: aiohttp.ClientSession
) -> None:
    async with client.get(address, headers={"Range": "bytes=5-9"}) as answer:
        assert await answer.read() == DATA[5:10]
    await store.delete(KEY)
    status = 206
    async with asyncio.timeout(30):
        while status == 206:
            async with client.get(address, headers={"Range": "bytes=5-9"}) as answer:
                status = answer.status
    assert status == 404


async def test_a_deletion_does_not_cut_who_is_listening(
    address: str, store: FilesystemStore, client: aiohttp.ClientSession
) -> None:
    async with client.get(address) as answer:
        first = await answer.content.read(1000)
        await store.delete(KEY)
        assert first + await answer.read() == DATA


async def test_a_name_to_save_it_under(address: str, client: aiohttp.ClientSession) -> None:
    async with client.get(address, params={"filename": "Stück.mp3"}) as answer:
        assert answer.content_disposition is not None
        assert answer.content_disposition.filename == "Stück.mp3"
    async with client.get(address) as answer:
        assert answer.content_disposition is None


async def test_a_private_blob_is_not_kept_by_anybody(
    store: FilesystemStore, client: aiohttp.ClientSession
) -> None:
    key = await publish(store, b"mine", Area.PRIVATE)
    async with served(store) as base, client.get(f"{base}/{key}") as answer:
        assert answer.headers["Cache-Control"] == "private, no-store"
        assert "Access-Control-Allow-Origin" not in answer.headers


async def raw(address: str, *lines: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = address.removeprefix("http://").partition("/")[0].split(":")
    # A small buffer: the server must wait for this reader.
    reader, writer = await asyncio.open_connection(host, int(port), limit=4096)
    writer.write("\r\n".join([f"GET /{KEY} HTTP/1.1", "Host: x", *lines, "", ""]).encode())
    return reader, writer


async def test_a_slow_reader_gets_all_of_it_and_holds_nobody_up(
    address: str, client: aiohttp.ClientSession
) -> None:
    reader, writer = await raw(address, "Connection: close")
    await reader.readuntil(b"\r\n\r\n")
    body = await reader.readexactly(10_000)
    async with client.get(address, headers={"Range": "bytes=0-9"}) as answer:
        assert await answer.read() == DATA[:10]
    body += await reader.read(-1)
    assert body == DATA
    writer.close()


async def test_requests_in_a_row_are_answered_in_a_row(address: str) -> None:
    reader, writer = await raw(address, "Range: bytes=0-99")
    for at in (100_000, 5):
        writer.write(f"GET /{KEY} HTTP/1.1\r\nHost: x\r\nRange: bytes={at}-{at + 99}\r\n\r\n".encode())
    for at in (0, 100_000, 5):
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 206 " in head
        assert await reader.readexactly(100) == DATA[at : at + 100]
    writer.close()


async def test_a_connection_goes_on_after_each_kind_of_answer_and_keeps_nothing_back(address: str) -> None:
    reader, writer = await raw(address, "Range: bytes=3000001-")
    asked = [
        ("GET", "bytes=7-7"),
        ("HEAD", "bytes=0-9"),
        ("GET", "bytes=1-2,4-4"),
        ("GET", "bytes=0-2500000"),
    ]
    heads = [await reader.readuntil(b"\r\n\r\n")]
    for method, part in asked:
        writer.write(f"{method} /{KEY} HTTP/1.1\r\nHost: x\r\nRange: {part}\r\n\r\n".encode())
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        length = re.search(rb"Content-Length: (\d+)", heads[-1])
        assert length is not None
        body = await reader.readexactly(int(length[1]) if method == "GET" else 0)
        start, stop = part.removeprefix("bytes=").split("-", 1)
        if method == "GET" and "," not in part:
            assert body == DATA[int(start) : int(stop) + 1]
    assert [head.split()[1] for head in heads] == [b"416", b"206", b"206", b"206", b"206"]
    writer.transport.get_extra_info("socket").shutdown(socket.SHUT_WR)
    assert await reader.read() == b""
    writer.close()


@pytest.mark.skipif(not hasattr(socket, "TCP_CORK"), reason="only Linux holds back")
async def test_the_head_of_a_long_answer_goes_with_its_first_bytes(client: aiohttp.ClientSession) -> None:
    seen: list[int] = []

    def look(request: web.Request) -> None:
        assert request.transport is not None
        sock = request.transport.get_extra_info("socket")
        seen.append(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CORK))

    async def handler(request: web.Request) -> web.StreamResponse:
        class Body:
            size = 1_000_000

            async def send(self, out: Outlet, start: int, stop: int) -> None:
                look(request)
                await out.write(bytes(stop - start))

        answered = await answer(request, Body(), mime="audio/mpeg", etag='"1"', headers={})
        look(request)
        return answered

    app = web.Application()
    app.router.add_get("/", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    base = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    for method, part, held in (
        ("GET", "bytes=1-300000", [1, 0]),  # let go, or the next answer would wait
        ("GET", "bytes=1-1000", [0, 0]),
        ("HEAD", "bytes=1-300000", [0]),
        ("GET", "bytes=1000000-", [0]),
        ("GET", "bytes=0-399999,500000-999999", [1, 1, 0]),
    ):
        async with client.request(method, base, headers={"Range": part}) as got:
            await got.read()
        while len(seen) < len(held):  # the client may be done before the handler
            await asyncio.sleep(0)
        assert seen == held, part
        seen.clear()
    await runner.cleanup()


async def test_a_listener_who_seeks_away_leaves_no_line_in_the_log(
    address: str, client: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for number in range(30):
        reader, writer = await raw(address)
        if number % 3:
            await reader.read(1000)
        writer.transport.abort()
    async with client.get(address) as answer:
        assert await answer.read() == DATA
    assert caplog.records == []


async def test_a_connection_that_we_encrypt_gets_the_same_bytes(store: FilesystemStore) -> None:
    connector = aiohttp.TCPConnector(ssl=False)
    async with (
        served(store, tls=Authority().server_context("127.0.0.1")) as base,
        aiohttp.ClientSession(connector=connector) as client,
        client.get(f"{base}/{KEY}", headers={"Range": "bytes=1-2000000"}) as answer,
    ):
        assert (answer.status, await answer.read()) == (206, DATA[1:2_000_001])


async def test_nginx_is_told_where_the_file_is(store: FilesystemStore, client: aiohttp.ClientSession) -> None:
    config = ServeConfig(accel_prefix="/inner/")
    async with served(store, config) as base, client.get(f"{base}/{KEY}") as answer:
        assert answer.headers["X-Accel-Redirect"] == f"/inner/audio/{KEY.sha256[:2]}/{KEY.sha256}"
        assert (answer.headers["Content-Type"], await answer.read()) == ("audio/mpeg", b"")
        path = store.path(KEY)
        assert path is not None
        assert str(path).endswith(answer.headers["X-Accel-Redirect"].removeprefix("/inner"))


async def test_what_lies_in_s3_is_fetched_there(swift: Swift, client: aiohttp.ClientSession) -> None:
    async with S3Store(await two_buckets(swift)) as store:
        public, private = await publish(store, DATA[:1000]), await publish(store, b"mine", Area.PRIVATE)
        async with served(store) as base:
            for key, data in ((public, DATA[:1000]), (private, b"mine")):
                async with client.get(f"{base}/{key}", headers={"Range": "bytes=1-"}) as answer:
                    assert (answer.status, await answer.read()) == (206, data[1:])
            async with client.get(f"{base}/{private}", allow_redirects=False) as answer:
                assert (answer.status, answer.headers["Cache-Control"]) == (302, "no-store")
            async with client.get(f"{base}/{public}", allow_redirects=False) as answer:
                assert "X-Amz-Expires=1800" in answer.headers["Location"]
                assert answer.headers["Cache-Control"] == "private, max-age=180"
        async with served(store, ServeConfig(media_url="https://cdn.example/")) as base:
            async with client.get(f"{base}/{public}", allow_redirects=False) as answer:
                assert answer.headers["Location"] == f"https://cdn.example/{public}"
            async with client.get(f"{base}/{private}", allow_redirects=False) as answer:
                assert answer.headers["Location"].startswith(swift.endpoint)


_NGINX = """\
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    server {{
        listen unix:{folder}/nginx.sock;
        location / {{ proxy_pass {behind}; }}
        {inner}
    }}
}}
"""


def documented(blobs: Path) -> str:
    """The location that docs/operations.md has for our blobs, for these."""
    page = (ROOT / "docs" / "operations.md").read_text()
    (block,) = (block for block in re.findall(r"```nginx\n(.*?)```", page, re.DOTALL) if "alias" in block)
    return block.replace("/var/lib/plyr/blobs/", f"{blobs}/")


async def test_an_nginx_in_front_sends_the_file_itself(store: FilesystemStore, tmp_path: Path) -> None:
    nginx = which("nginx")
    if nginx is None:
        require("nginx", "the program is not installed")
    folder = Path(tempfile.mkdtemp(prefix="plyr-nginx-"))  # the name of a socket must be short
    path = store.path(KEY)
    assert path is not None
    for place in [folder, *path.parents]:
        if place.stat().st_uid == os.getuid() and place != Path("/"):
            place.chmod(place.stat().st_mode | 0o055)
    path.chmod(0o444)
    async with served(store, ServeConfig(accel_prefix="/blobs/")) as behind:
        conf = folder / "nginx.conf"
        conf.write_text(_NGINX.format(folder=folder, behind=behind, inner=documented(tmp_path / "blobs")))
        process = subprocess.Popen([nginx, "-c", conf, "-p", folder], stderr=subprocess.DEVNULL)
        try:
            while not (folder / "nginx.sock").exists():
                assert process.poll() is None
                await asyncio.sleep(0.02)
            connector = aiohttp.UnixConnector(str(folder / "nginx.sock"))
            async with aiohttp.ClientSession(connector=connector) as client:
                async with client.get(f"http://x/{KEY}", headers={"Range": "bytes=5-1000004"}) as answer:
                    assert (answer.status, await answer.read()) == (206, DATA[5:1_000_005])
                    assert answer.headers["Content-Type"] == "audio/mpeg"
                    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
                    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
                    assert answer.headers["X-Content-Type-Options"] == "nosniff"
                    assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
                    assert answer.headers["Access-Control-Allow-Origin"] == "*"
                    assert "X-Accel-Redirect" not in answer.headers
                inside = f"http://x/blobs/{KEY.area}/{KEY.sha256[:2]}/{KEY.sha256}"
                async with client.get(inside) as answer:
                    assert answer.status == 404
        finally:
            process.terminate()
            process.wait(10)
            shutil.rmtree(folder)
