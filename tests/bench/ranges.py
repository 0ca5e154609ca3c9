"""(i) Byte ranges of audio: our sendfile handler beside nginx, and beside aiohttp's own FileResponse.

All on one core, the readers on the other, the file in the page cache. Ours listens as `plyr web` does on the
loopback, without BBR's pacing; nginx has what the machine has. What is compared is bytes for each second of
the server's CPU. Where nginx is not installed, FileResponse alone is beside ours.

Gate: every answer has its length, and each hundredth is compared with the file.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from storage.blobs.filesystem import FilesystemStore
from storage.blobs.store import Area, Key
from tests.bench import children, machine
from tests.bench.measure import Contestant, Finding, Goal, Pair, Sample, Target, WrongAnswer, interleave
from tests.bench.options import Options

CONNECTIONS = 16
STREAMS = 500
PEAK_BYTES = 80_000_000
# Part of nginx's bytes per CPU second, and times those of FileResponse.
SIZES = {"64 KiB": (64 << 10, 0.35, 2.0), "1 MiB": (1 << 20, 0.9, 1.0), "10 MiB": (10 << 20, 0.9, 1.0)}

_NGINX = """\
daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 2048; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
    default_type audio/mpeg;
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""


@dataclass(frozen=True, slots=True)
class Server:
    name: str
    pid: int
    port: int
    path: str


async def make_blob(folder: Path, size: int) -> tuple[Key, int]:
    """A blob of so many bytes, and its CRC-32."""
    store = FilesystemStore(folder)
    block = hashlib.shake_128(b"sound").digest(1 << 20)

    async def chunks() -> AsyncIterator[bytes]:
        for number in range(size >> 20):
            yield number.to_bytes(8, "big") + block[8:]

    digest = await store.stage("blob", chunks())
    key = Key(Area.AUDIO, digest.sha256)
    await store.publish("blob", key, mime="audio/mpeg")
    return key, digest.crc32


async def run(options: Options) -> Finding:
    folder, size = options.scratch / "blobs", options.size(200, 64) << 20
    key, _ = await make_blob(folder, size)
    cores = machine.cores() or (None, None)
    path = FilesystemStore(folder).path(key)
    targets: list[Target] = []
    contestants: list[Contestant] = []
    async with AsyncExitStack() as stack:
        task = {"folder": str(folder)}
        start = children.Child.start
        child = await stack.enter_async_context(await start("tests.bench.range_server", task, core=cores[1]))
        common = await stack.enter_async_context(
            await start("tests.bench.range_server", task | {"common": True}, core=cores[1])
        )
        ours = Server("plyr", child.pid, (await child.answer(30))["port"], f"/{key}")
        file = Server("aiohttp's FileResponse", common.pid, (await common.answer(30))["port"], f"/{key}")
        others = [file]
        if shutil.which("nginx") is not None:
            others.insert(0, await stack.enter_async_context(_nginx(options.scratch, folder, key, cores[1])))

        def reading(server: Server, part: int) -> Callable[[], Awaitable[Sample]]:
            async def one() -> Sample:
                # Enough of the long ones that most are asked for by connections that have found their speed.
                total = (options.size(2048, 512) if part > 1 << 18 else options.size(256, 128)) << 20
                count = max(CONNECTIONS, total // part // CONNECTIONS * CONNECTIONS)
                told = {"file": str(path), "size": size, "part_bytes": part, "count": count}
                return await _read(server, told, cores[0])

            return one

        for label, (part, of_nginx, of_common) in SIZES.items():
            for other in others:
                rounds = options.size(5 if other is file or part < 1 << 18 else 11, 3)
                pairs: list[Pair] = await interleave(rounds, reading(ours, part), reading(other, part))
                wanted = of_common if other is file else of_nginx
                ratios = tuple(pair.by_cpu for pair in pairs)
                targets.append(Target(f"{other.name}'s bytes per CPU second, {label}", ratios, wanted))
                contestants += [
                    Contestant(f"plyr, {label}", tuple(pair.ours for pair in pairs)),
                    Contestant(f"{other.name}, {label}", tuple(pair.baseline for pair in pairs)),
                ]
        peak = await _many(ours)
    targets.append(Target(f"less memory than 80 MB, at {STREAMS} streams", (PEAK_BYTES / peak,), 1))
    return Finding(
        name="ranges",
        title=f"byte ranges of a file of {size >> 20} MiB, {CONNECTIONS} connections",
        unit="MiB",
        contestants=tuple(contestants),
        targets=tuple(targets),
        goals=(Goal(f"memory at {STREAMS} streams", peak / 1e6, PEAK_BYTES / 1e6, "MB", at_most=True),),
        gates=("every answer's length, and each hundredth answer's bytes",),
        notes=() if len(others) > 1 else ("nginx is not installed: nothing was compared with it",),
    )


async def _read(server: Server, told: dict[str, object], core: int | None) -> Sample:
    task = told | {"port": server.port, "path": server.path, "connections": CONNECTIONS}
    before = _cpu_s(server.pid)
    async with await children.Child.start("tests.bench.range_client", task, core=core) as client:
        answer = await client.answer(120)
    if answer["wrong"]:
        raise WrongAnswer(f"{server.name}: {answer['wrong']}")
    cpu_s = _cpu_s(server.pid) - before
    return Sample(answer["bytes"] >> 20, answer["wall_s"], cpu_s, machine.peak_bytes(server.pid))


def _cpu_s(pid: int) -> float:
    """To the nanosecond, of all threads: the usual ticks are a tenth of what a run takes."""
    return (
        sum(int(file.read_text().split()[0]) for file in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9
    )


async def _many(server: Server) -> int:
    """The server's peak memory with STREAMS that have begun and take nothing more."""
    request = f"GET {server.path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    writers: list[asyncio.StreamWriter] = []
    for _ in range(STREAMS):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=4096)
        writers.append(writer)
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head:
            raise WrongAnswer(f"{server.name}: {head.decode()}")
    peak = machine.peak_bytes(server.pid)
    for writer in writers:
        writer.transport.abort()
    return peak


@asynccontextmanager
async def _nginx(scratch: Path, root: Path, key: Key, core: int | None) -> AsyncIterator[Server]:
    folder = scratch / "nginx"
    folder.mkdir()
    for place in (scratch, folder, root, root / "audio", root / "audio" / key.sha256[:2]):
        place.chmod(0o755)  # as root it works as somebody else
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    conf = folder / "nginx.conf"
    conf.write_text(_NGINX.format(folder=folder, port=port, root=root))
    process = subprocess.Popen(["nginx", "-c", conf, "-p", folder], stderr=subprocess.DEVNULL)
    try:
        if core is not None:
            os.sched_setaffinity(process.pid, {core})
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                await asyncio.sleep(0.05)
        yield Server("nginx", process.pid, port, f"/{key.area}/{key.sha256[:2]}/{key.sha256}")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)
