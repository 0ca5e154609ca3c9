"""What ffmpeg cannot do here, whatever a file makes it want: real processes and real limits."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from appview.media import cores
from appview.media.failures import LimitExceeded, Unreadable
from appview.media.ffmpeg import Limits, last_words, run, source
from tests.music import aiff, music

GENEROUS = Limits(cpu_s=60, wall_s=60)
ENDLESS = ("-f", "lavfi", "-i", "anoisesrc=r=48000")


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    return aiff(tmp_path / "in.aiff", music(20))


def processes(words: str) -> list[int]:
    """Ids of the processes of this test's own whose command line has these words: other tests may run the
    same beside it. A process that lost its parent would count, too."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if words.encode() in command and parent in (os.getpid(), 1):
                    found.append(int(entry.name))
            except (FileNotFoundError, ProcessLookupError):
                continue
    return found


async def test_it_runs_and_tells_how_far_it_is(sound: Path, tmp_path: Path) -> None:
    heard: list[float] = []
    out = tmp_path / "out.flac"
    await run([*source(sound, "aiff"), f"file:{out}"], GENEROUS, on_progress=heard.append)
    assert out.read_bytes()[:4] == b"fLaC"
    assert heard[-1] == pytest.approx(20, abs=0.1)


async def test_computing_ends_at_its_limit() -> None:
    with pytest.raises(LimitExceeded, match="1 s of computing"):
        await run([*ENDLESS, "-c:a", "flac", "-f", "null", "-"], replace(GENEROUS, cpu_s=1))


async def test_time_ends_at_its_limit() -> None:
    started = time.monotonic()
    with pytest.raises(LimitExceeded, match="longer than 1 s"):
        await run(["-re", *ENDLESS, "-f", "null", "-"], replace(GENEROUS, wall_s=1))
    assert time.monotonic() - started < 20
    assert processes("anoisesrc=r=48000") == []


async def test_a_file_ends_at_its_limit(tmp_path: Path) -> None:
    out = tmp_path / "out.wav"
    with pytest.raises(LimitExceeded, match="larger than 1,000,000 bytes"):
        await run([*ENDLESS, f"file:{out}"], replace(GENEROUS, file_bytes=1_000_000))
    assert out.stat().st_size <= 1_000_000


async def test_memory_ends_at_its_limit() -> None:
    """A hundred seconds held back in memory, where ten megabytes are left."""
    held = [*ENDLESS, "-af", "adelay=1000s:all=1,areverse", "-f", "null", "-"]
    with pytest.raises((LimitExceeded, Unreadable)) as refused:
        await run(held, replace(GENEROUS, memory_bytes=400 << 20))
    assert "memory" in str(refused.value) or "allocate" in str(refused.value)


async def test_it_keeps_to_a_core_until_it_is_released() -> None:
    pids: list[int] = []
    seen: list[set[int]] = []
    last = cores.usable()[-1]

    def look(done_s: float) -> None:
        if len(seen) == 2:
            return  # the last word may come when it is gone
        threads = [int(each.name) for each in Path(f"/proc/{pids[0]}/task").iterdir()]
        assert len(threads) > 1
        seen.append(set().union(*(os.sched_getaffinity(thread) for thread in threads)))
        cores.release(pids[0])

    endless = ["-re", *ENDLESS, "-t", "2", "-f", "null", "-"]
    await run(endless, GENEROUS, on_progress=look, on_start=pids.append, core=last)
    assert seen == [{last}, set(cores.usable())]
    cores.release(pids[0])  # of which nothing is left


async def test_a_core_that_was_taken_away_is_no_reason_to_fail() -> None:
    done_s: list[float] = []
    arguments = [*ENDLESS, "-t", "1", "-f", "null", "-"]
    await run(arguments, GENEROUS, core=1023, on_progress=done_s.append)
    assert done_s[-1] == pytest.approx(1, abs=0.1)


async def test_a_cancelled_task_leaves_no_process() -> None:
    words = "anoisesrc=r=47999"
    task = asyncio.create_task(run(["-re", "-f", "lavfi", "-i", words, "-f", "null", "-"], GENEROUS))
    while not processes(words):
        await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert processes(words) == []


async def test_what_feeds_may_refuse_and_that_ends_it() -> None:
    def refuse(chunk: bytes) -> None:
        raise ValueError("enough")

    words = "anoisesrc=r=47998"
    with pytest.raises(ValueError, match="enough"):
        await run(["-f", "lavfi", "-i", words, "-f", "s16le", "pipe:1"], GENEROUS, feed=refuse)
    assert processes(words) == []


async def test_no_address_is_opened() -> None:
    """Neither by the protocols that are allowed, nor, where the kernel lets us, by the network."""
    asked: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readline()).decode())
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    address = f"http://127.0.0.1:{port}/song.mp3"
    async with server:
        with pytest.raises(Unreadable):
            await run(
                ["-protocol_whitelist", "file,pipe", "-f", "mp3", "-i", address, "-f", "null", "-"], GENEROUS
            )
        assert asked == []


async def test_a_playlist_in_disguise_reads_no_other_file(tmp_path: Path) -> None:
    secret = aiff(tmp_path / "secret.aiff", music(1))
    playlist = tmp_path / "song.mp3"
    playlist.write_text(f"ffconcat version 1.0\nfile {secret}\n" * 50)
    out = tmp_path / "out.wav"
    with pytest.raises(Unreadable):
        await run([*source(playlist, "mp3"), f"file:{out}"], GENEROUS)
    assert not out.exists() or out.stat().st_size < 200


def test_the_last_words_name_neither_paths_nor_memory() -> None:
    log = (
        "[in#0 @ 0x55705dbd7f80] moov atom not found\n"
        "Error opening input file file:/data/scratch/x.m4a.\n"
        "Error opening input files: Invalid data found when processing input\n"
    )
    assert last_words(log) == "moov atom not found"
    assert last_words("") == ""
