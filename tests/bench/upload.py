"""(l) An upload through the routes of `plyr web`, staged on disk and hashed in one pass, against its parts.

The parts: receive and drop, hash alone, write and sync alone, each measured in the same run and added. No
way that does all of them on one core takes less, so the ratio is how much of that is reached. What `web` adds
besides, who asks, the rows and the job, is part of what is measured.

Gate: hash, CRC-32 and size that the job was given are those of the file that was sent.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import socket
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from appview.auth import secret
from appview.auth.secret import Key
from storage import sessions
from storage.sessions import Kind, NewSession
from tests.bench import children, database, machine
from tests.bench.activity import did
from tests.bench.measure import Contestant, Finding, Goal, Pair, Sample, Target, WrongAnswer
from tests.bench.options import Options

RAW, MULTIPART = 0.9, 0.6
ABOVE_IDLE_BYTES = 64 << 20
_BOUNDARY = "----WebKitFormBoundary7MA4YWxkTrZu0gW"  # as browsers have it: a short one is dearer to find
_FORM = (
    f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="title"\r\n\r\nx\r\n'
    f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
).encode()
_TAIL = f"\r\n--{_BOUNDARY}--\r\n".encode()


@dataclass(frozen=True, slots=True)
class Sent:
    path: Path
    size: int
    answer: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Way:
    """How the file is sent. `key` None: to who drops it."""

    port: int
    path: str
    kind: str
    head: bytes = b""
    tail: bytes = b""
    key: str | None = None

    def request(self, size: int) -> bytes:
        lines = [f"POST {self.path} HTTP/1.1", "Host: x", "Connection: close", f"Content-Type: {self.kind}"]
        if self.key is not None:
            lines.append(f"Authorization: Bearer {self.key}")
        length = len(self.head) + size + len(self.tail)
        return "\r\n".join([*lines, f"Content-Length: {length}", "", ""]).encode() + self.head


async def run(options: Options, postgres: database.Server) -> Finding:
    sent = _make(options.scratch / "upload", options.size(1024, 128) << 20)
    folder, blobs = options.scratch / "data", options.scratch / "store"
    folder.mkdir()
    blobs.mkdir()
    dsn = await postgres.fresh("upload")
    key = await _key(dsn)
    core = (machine.cores() or (None, None))[1]
    start = children.Child.start
    rounds: list[tuple[Sample, Sample, Sample]] = []
    task = {"do": "serve", "dsn": dsn, "folder": str(folder), "blobs": str(blobs)}
    async with await start("tests.bench.upload_server", task, core=core) as child:
        ports = await child.answer(60)
        drop = Way(ports["drop"], "/", "audio/wav")
        raw = Way(ports["port"], "/xrpc/fm.plyr.audio.uploadAudio?title=x", "audio/wav", key=key)
        form = Way(ports["port"], "/tracks/", f"multipart/form-data; boundary={_BOUNDARY}", _FORM, _TAIL, key)

        async def post(way: Way) -> Sample:
            before, started = machine.cpu_seconds(child.pid), time.perf_counter()
            await asyncio.to_thread(_post, way, sent)
            wall_s = time.perf_counter() - started
            cpu_s = machine.cpu_seconds(child.pid) - before
            if way.key is not None:
                await _taken(dsn, blobs, sent)
            return Sample(sent.size >> 20, wall_s, cpu_s, machine.peak_bytes(child.pid))

        async def alone(what: str) -> Sample:
            task = {"do": what, "bytes": sent.size, "folder": str(blobs)}
            async with await start("tests.bench.upload_server", task, core=core) as part:
                return children.sample_of(await part.answer(120))

        await post(drop)
        idle = machine.resident_bytes(child.pid)
        for number in range(options.size(5, 3)):
            if number % 2:
                parts = [await alone("write"), await alone("hash"), await post(drop)]
                formed, rawed = await post(form), await post(raw)
            else:
                rawed, formed = await post(raw), await post(form)
                parts = [await post(drop), await alone("hash"), await alone("write")]
            rounds.append((rawed, formed, _added(parts)))
        above = machine.peak_bytes(child.pid) - idle
    raws = [Pair(each, parts) for each, _, parts in rounds]
    forms = [Pair(each, parts) for _, each, parts in rounds]
    return Finding(
        name="upload",
        title=f"an upload of {sent.size >> 20} MiB through the routes to disk, hashed and summed",
        unit="MiB",
        contestants=(
            Contestant("plyr, raw body", tuple(pair.ours for pair in raws)),
            Contestant("plyr, multipart", tuple(pair.ours for pair in forms)),
            Contestant("its parts, added", tuple(pair.baseline for pair in raws)),
        ),
        targets=(
            Target("the speed of its parts added, raw body", tuple(pair.by_wall for pair in raws), RAW),
            Target(
                "the speed of its parts added, multipart", tuple(pair.by_wall for pair in forms), MULTIPART
            ),
            Target("less memory above idle than 64 MiB", (ABOVE_IDLE_BYTES / max(above, 1),), 1),
        ),
        goals=(Goal("peak memory above idle", above / 1e6, ABOVE_IDLE_BYTES / 1e6, "MB", at_most=True),),
        gates=("sha-256, CRC-32 and size as of the file",),
    )


def _added(parts: list[Sample]) -> Sample:
    wall_s, cpu_s = sum(part.wall_s for part in parts), sum(part.cpu_s for part in parts)
    return Sample(parts[0].n, wall_s, cpu_s, max(part.peak_bytes for part in parts))


def _make(path: Path, size: int) -> Sent:
    sha256, crc32 = hashlib.sha256(), 0
    with path.open("wb") as file:
        for block in _blocks(size):
            file.write(block)
            sha256.update(block)
            crc32 = zlib.crc32(block, crc32)
    return Sent(path, size, {"sha256": sha256.hexdigest(), "crc32": crc32, "bytes": size})


def _blocks(size: int) -> Iterator[bytes]:
    block = bytearray(hashlib.shake_128(b"upload").digest(1 << 20))
    for number in range(size >> 20):
        block[:8] = number.to_bytes(8, "big")
        yield bytes(block)


async def _key(dsn: str) -> str:
    """Of somebody who may publish tracks."""
    key = Key(secret.fresh())
    new = NewSession(
        kind=Kind.TOKEN,
        did=did(0),
        handle=None,
        scope="atproto repo:fm.plyr.track",
        issuer="https://as.example",
        credentials=b"nobody opens them",
        life_s=3600,
        token_hash=key.digest,
        prefix=key.prefix,
    )
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        await sessions.add(conn, new)
    return key.text


async def _taken(dsn: str, blobs: Path, sent: Sent) -> None:
    """Check what the job was given, and make room for the next."""
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        rows = await (await conn.execute("delete from job returning args")).fetchall()
        await conn.execute("delete from staged_upload")
    found = [{name: row[0][name] for name in sent.answer} for row in rows]
    if found != [sent.answer]:
        raise WrongAnswer(f"the job was given {found}, it is {sent.answer}")
    for staged in (blobs / "staged").iterdir():
        staged.unlink()


def _post(way: Way, sent: Sent) -> None:
    """Send the file by sendfile, so that the client costs little."""
    with socket.create_connection(("127.0.0.1", way.port)) as sock, sent.path.open("rb") as file:
        sock.sendall(way.request(sent.size))
        at = 0
        while at < sent.size:
            at += os.sendfile(sock.fileno(), file.fileno(), at, sent.size - at)
        sock.sendall(way.tail)
        answer = b""
        while got := sock.recv(65_536):
            answer += got
    if b" 200 " not in answer.partition(b"\r\n")[0]:
        raise WrongAnswer(answer[:300].decode())
    json.loads(answer.partition(b"\r\n\r\n")[2])
