"""(j) An export as a ZIP of stored files, streamed: ours beside `zipfile`, and beside the same bytes alone.

Ours is the application's answer to a GET, headers from rows and bodies by sendfile. `zipfile` writes the same
members into a socket, reading and summing every byte, as exports are commonly built. Compared are bytes for
each second of CPU of the process that sends; who reads does the least that a reader can, the same for both.

Gate: the length that was told is the length that came; a smaller one is read whole by `zipfile`.
"""

from __future__ import annotations

import io
import socket
import time
import zipfile
from pathlib import Path
from typing import Any

import aiohttp

from storage.blobs.filesystem import FilesystemStore
from tests.bench import children, machine
from tests.bench.measure import Finding, Goal, Sample, Target, WrongAnswer, contest, interleave
from tests.bench.options import Options
from tests.bench.ranges import make_blob

RATIO = 3.0
PEAK_BYTES = 64 << 20


async def run(options: Options) -> Finding:
    folder, size, count = options.scratch / "zip", options.size(200, 32) << 20, options.size(25, 6)
    key, crc32 = await make_blob(folder, size)
    # One core for both ends: to wake a reader on another virtual core costs the sender as much as all that it
    # sends, and no network card asks for it.
    core = (machine.cores() or (None,))[-1]
    path = FilesystemStore(folder).path(key)
    told = {"key": str(key), "size": size, "crc32": crc32, "count": count}
    start = children.Child.start
    await _check(folder)
    async with await start(
        "tests.bench.range_server", {"folder": str(folder), "zip": told}, core=core
    ) as child:
        port = (await child.answer(30))["port"]

        async def ours() -> Sample:
            before = machine.cpu_seconds(child.pid)
            async with await start("tests.bench.zipped", {"read": port}, core=core) as client:
                answer = await client.answer(120)
            if answer["bytes"] != answer["told"] or answer["bytes"] < size * count:
                raise WrongAnswer(f"{answer['told']:,} bytes were told, {answer['bytes']:,} came")
            cpu_s = machine.cpu_seconds(child.pid) - before
            return Sample(answer["bytes"] >> 20, answer["wall_s"], cpu_s, machine.peak_bytes(child.pid))

        async def common() -> Sample:
            task = {"write": str(path), "size": size, "count": count}
            async with await start("tests.bench.zipped", task, core=core) as writer:
                port = (await writer.answer(30))["port"]
                async with await start("tests.bench.zipped", {"drain": port}, core=core) as client:
                    read = await client.answer(120)
                answer = await writer.answer(120)
            return Sample(read["bytes"] >> 20, read["wall_s"], answer["cpu_s"], answer["peak_bytes"])

        pairs = await interleave(options.size(3, 3), ours, common)
        peak = machine.peak_bytes(child.pid)
    return Finding(
        name="zip",
        title=f"a ZIP of {count} files of {size >> 20} MiB",
        unit="MiB",
        contestants=contest("plyr", "zipfile", pairs),
        targets=(
            Target("zipfile's bytes per CPU second", tuple(pair.by_cpu for pair in pairs), RATIO),
            Target("less memory than 64 MiB", (PEAK_BYTES / peak,), 1),
        ),
        goals=(Goal("peak memory", peak / 1e6, PEAK_BYTES / 1e6, "MB", at_most=True),),
        gates=("the length that was told came", "a smaller one is whole for zipfile"),
    )


async def _check(folder: Path) -> None:
    key, crc32 = await make_blob(folder, 4 << 20)
    told = {"key": str(key), "size": 4 << 20, "crc32": crc32, "count": 5}
    async with await children.Child.start(
        "tests.bench.range_server", {"folder": str(folder), "zip": told}
    ) as child:
        port = (await child.answer(30))["port"]
        async with (
            aiohttp.ClientSession() as client,
            client.get(f"http://127.0.0.1:{port}/all.zip") as response,
        ):
            data = await response.read()
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        broken = file.testzip()
        if broken is not None or len(file.infolist()) != 5:
            raise WrongAnswer(f"zipfile finds {broken} broken")


class _Out:
    """A socket as zipfile wants to write to it."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def write(self, data: bytes) -> int:
        self._sock.sendall(data)
        return len(data)

    def flush(self) -> None:
        pass


async def body(task: dict[str, Any]) -> None:
    if "write" in task:
        _write(task)
        return
    port = task.get("read") or task["drain"]
    with socket.create_connection(("127.0.0.1", port)) as sock:
        started, buffer, received, told = time.perf_counter(), bytearray(1 << 20), 0, 0
        if "read" in task:
            sock.sendall(b"GET /all.zip HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            head = b""
            while b"\r\n\r\n" not in head:
                head += sock.recv(2048)
            head, _, rest = head.partition(b"\r\n\r\n")
            told = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            received = len(rest)
        # Counted and thrown away inside of the kernel: on one machine, a reader that copies slows whoever
        # sends, and would be measured with it.
        while got := sock.recv_into(buffer, 0, socket.MSG_TRUNC):
            received += got
        children.say({"bytes": received, "told": told, "wall_s": time.perf_counter() - started})


def _write(task: dict[str, Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        children.say({"port": listener.getsockname()[1]})
        sock, _ = listener.accept()
    before = time.process_time()
    target: Any = _Out(sock)
    with sock, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED, allowZip64=True) as out:
        for number in range(task["count"]):
            info = zipfile.ZipInfo(f"track {number:02d}.mp3")
            info.file_size = task["size"]
            with out.open(info, "w") as member, Path(task["write"]).open("rb", buffering=0) as file:
                while chunk := file.read(1 << 20):
                    member.write(chunk)
    children.say({"cpu_s": time.process_time() - before, "peak_bytes": machine.own_peak_bytes()})


if __name__ == "__main__":
    children.main(body)
