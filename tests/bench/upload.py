"""(l) An upload into the blob store on disk, sha-256 and CRC-32 in the same pass, against its parts alone.

The parts: receive and drop, hash alone, write and sync alone, each measured in the same run and added. No
way that does all of them on one core takes less, so the ratio is how much of that is reached.

Gate: hash, CRC-32 and size are those of the file that was sent.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import socket
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench import children, machine
from tests.bench.measure import Contestant, Finding, Goal, Pair, Sample, Target, WrongAnswer
from tests.bench.options import Options

RAW, MULTIPART = 0.9, 0.6
PEAK_BYTES = 64 << 20
_HEAD, _TAIL = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n', b"\r\n--x--\r\n"


@dataclass(frozen=True, slots=True)
class Sent:
    path: Path
    size: int
    answer: dict[str, Any]


async def run(options: Options) -> Finding:
    sent = _make(options.scratch / "upload", options.size(1024, 128) << 20)
    folder = options.scratch / "store"
    folder.mkdir()
    cores = machine.cores() or (None, None)
    start = children.Child.start
    rounds: list[tuple[Sample, Sample, Sample]] = []
    task = {"do": "serve", "folder": str(folder)}
    async with await start("tests.bench.upload_server", task, core=cores[1]) as child:
        port = (await child.answer(30))["port"]

        async def post(path: str) -> Sample:
            before, started = machine.cpu_seconds(child.pid), time.perf_counter()
            answer = await asyncio.to_thread(_post, port, path, sent)
            if path != "/drop" and answer != sent.answer:
                raise WrongAnswer(f"{path}: {answer}, it is {sent.answer}")
            wall_s = time.perf_counter() - started
            cpu_s = machine.cpu_seconds(child.pid) - before
            return Sample(sent.size >> 20, wall_s, cpu_s, machine.peak_bytes(child.pid))

        async def alone(what: str) -> Sample:
            task = {"do": what, "bytes": sent.size, "folder": str(folder)}
            async with await start("tests.bench.upload_server", task, core=cores[1]) as part:
                return children.sample_of(await part.answer(120))

        await post("/drop")
        for number in range(options.size(5, 3)):
            if number % 2:
                parts = [await alone("write"), await alone("hash"), await post("/drop")]
                form, raw = await post("/multipart"), await post("/raw")
            else:
                raw, form = await post("/raw"), await post("/multipart")
                parts = [await post("/drop"), await alone("hash"), await alone("write")]
            rounds.append((raw, form, _added(parts)))
        peak = machine.peak_bytes(child.pid)
    raws = [Pair(raw, parts) for raw, _, parts in rounds]
    forms = [Pair(form, parts) for _, form, parts in rounds]
    return Finding(
        name="upload",
        title=f"an upload of {sent.size >> 20} MiB to disk, hashed and summed",
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
            Target("less memory than 64 MiB", (PEAK_BYTES / peak,), 1),
        ),
        goals=(Goal("peak memory", peak / 1e6, PEAK_BYTES / 1e6, "MB", at_most=True),),
        gates=("sha-256, CRC-32 and size as of the file",),
    )


def _added(parts: list[Sample]) -> Sample:
    wall_s, cpu_s = sum(part.wall_s for part in parts), sum(part.cpu_s for part in parts)
    return Sample(parts[0].n, wall_s, cpu_s, max(part.peak_bytes for part in parts))


def _make(path: Path, size: int) -> Sent:
    block = bytearray(hashlib.shake_128(b"upload").digest(1 << 20))
    sha256, crc32 = hashlib.sha256(), 0
    with path.open("wb") as file:
        for number in range(size >> 20):
            block[:8] = number.to_bytes(8, "big")
            file.write(block)
            sha256.update(block)
            crc32 = zlib.crc32(block, crc32)
    return Sent(path, size, {"sha256": sha256.hexdigest(), "crc32": crc32, "size": size})


def _post(port: int, path: str, sent: Sent) -> dict[str, Any]:
    """Send the file by sendfile, so that the client costs little; returns the answer."""
    form = path == "/multipart"
    head, tail = (_HEAD, _TAIL) if form else (b"", b"")
    kind = "multipart/form-data; boundary=x" if form else "application/octet-stream"
    length = len(head) + sent.size + len(tail)
    with socket.create_connection(("127.0.0.1", port)) as sock, sent.path.open("rb") as file:
        lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Type: {kind}", f"Content-Length: {length}"]
        sock.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode() + head)
        at = 0
        while at < sent.size:
            at += os.sendfile(sock.fileno(), file.fileno(), at, sent.size - at)
        sock.sendall(tail)
        answer = b""
        while got := sock.recv(65_536):
            answer += got
    if b" 200 " not in answer.partition(b"\r\n")[0]:
        raise WrongAnswer(answer[:300].decode())
    return json.loads(answer.partition(b"\r\n\r\n")[2])
