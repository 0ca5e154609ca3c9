"""The transcoder's service over HTTP, as other programs use it."""

from __future__ import annotations

import asyncio
import io
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from appview.media.probe import probe
from appview.media.scratch import room
from appview.media.transcoder import TranscoderConfig, build_transcoder
from bin.settings import ROOT
from tests.integration.media.test_confined import processes
from tests.music import aiff, music

KEY = {"X-Transcoder-Key": "secret"}


class Service:
    def __init__(self, client: aiohttp.ClientSession, scratch: Path) -> None:
        self.client = client
        self.scratch = scratch

    async def post(self, path: str = "/transcode", **options: Any) -> tuple[int, dict[str, str], bytes]:
        options.setdefault("headers", KEY)
        if isinstance(options.get("data"), bytes):
            options["data"] = io.BytesIO(options["data"])  # aiohttp warns of large bytes
        async with self.client.post(path, **options) as answer:
            return answer.status, dict(answer.headers), await answer.read()

    def left(self) -> list[Path]:
        return list(self.scratch.glob("room-*"))


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    scratch = tmp_path / "scratch"
    config = TranscoderConfig(key="secret", scratch=scratch, max_bytes=6_000_000, max_duration_s=3600)
    runner = web.AppRunner(build_transcoder(config), access_log=None, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with aiohttp.ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}") as client:
            yield Service(client, scratch)
    finally:
        await runner.cleanup()


async def test_who_sends_nothing_any_more_loses_its_place(tmp_path: Path) -> None:
    """What comes slowly, and longer in all, is waited for."""
    config = TranscoderConfig(key="secret", scratch=tmp_path, max_bytes=1000, idle_s=1)
    runner = web.AppRunner(build_transcoder(config), access_log=None, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    began: list[float] = []

    async def halting() -> AsyncIterator[bytes]:
        for _ in range(4):
            began.append(asyncio.get_running_loop().time())
            yield b"x"
            await asyncio.sleep(0.3)
        await asyncio.Event().wait()

    async with aiohttp.ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}") as client:
        status, _, body = await Service(client, tmp_path).post(data=halting())
    await runner.cleanup()
    assert (status, body) == (408, b'{"error": "bad request: nothing came for too long"}')
    assert len(began) == 4
    assert list(tmp_path.glob("room-*")) == []


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    return aiff(tmp_path / "My Sång.aiff", music(6))


def form(path: Path, name: str = "file") -> aiohttp.FormData:
    data = aiohttp.FormData(quote_fields=False)  # as browsers do it
    data.add_field("other", "ignored")
    data.add_field(name, io.BytesIO(path.read_bytes()), filename=path.name, content_type="audio/aiff")
    return data


@pytest.mark.parametrize(
    ("target", "mime", "codec"),
    [("mp3", "audio/mpeg", "mp3"), ("wav", "audio/wav", "pcm_s16le"), ("m4a", "audio/mp4", "aac")],
)
async def test_a_form_becomes_a_file(
    service: Service, sound: Path, tmp_path: Path, target: str, mime: str, codec: str
) -> None:
    status, headers, body = await service.post(f"/transcode?target={target}", data=form(sound))
    assert (status, headers["Content-Type"], int(headers["Content-Length"])) == (200, mime, len(body))
    assert headers["Content-Disposition"] == f"attachment; filename*=UTF-8''My%20S%C3%A5ng.{target}"
    out = tmp_path / "out"
    out.write_bytes(body)
    found = await probe(out)
    assert (found.codec, found.rate) == (codec, 44_100)
    assert found.duration_s == pytest.approx(6, abs=0.06)
    assert service.left() == []


async def test_a_body_by_itself_becomes_an_mp3(service: Service, sound: Path) -> None:
    status, headers, _ = await service.post(data=sound.read_bytes())
    assert (status, headers["Content-Type"]) == (200, "audio/mpeg")


@pytest.mark.parametrize("headers", [{}, {"X-Transcoder-Key": ""}, {"X-Transcoder-Key": "Secret"}])
async def test_without_the_key_nothing_is_read(service: Service, headers: dict[str, str]) -> None:
    read: list[int] = []

    async def endless() -> AsyncIterator[bytes]:
        while True:
            read.append(1)
            yield bytes(65_536)
            await asyncio.sleep(0.01)

    status, _, body = await service.post(headers=headers, data=endless())
    assert (status, b"unauthorized" in body) == (401, True)
    assert len(read) < 100


@pytest.mark.parametrize("target", ["exe", "opus", "", "MP3"])
async def test_an_unknown_target_is_told_before_the_file_is_read(service: Service, target: str) -> None:
    status, _, body = await service.post(f"/transcode?target={target}", data=b"x")
    assert (status, b"target must be one of mp3, wav, m4a" in body) == (400, True)


async def test_what_cannot_be_transcoded_gets_a_reason(service: Service, sound: Path, tmp_path: Path) -> None:
    text = tmp_path / "song.mp3"
    text.write_text("no song at all")
    for data, reason in (
        (form(text), "no audio file that we know"),
        (form(sound, "sound"), "no field file"),
        (b"", "the file is empty"),
        (sound.read_bytes()[:500_000], "ends after"),
    ):
        status, headers, body = await service.post(data=data)
        assert (status, headers["Content-Type"]) == (400, "application/json; charset=utf-8")
        assert '{"error": "bad request: ' in body.decode()
        assert reason in body.decode()
    assert service.left() == []


@pytest.mark.parametrize("told", [True, False])
async def test_what_is_too_large_is_refused_whether_it_says_so_or_not(service: Service, told: bool) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield bytes(65_536)

    status, _, _ = await service.post(data=bytes(6_553_600) if told else chunks())
    assert status == 413
    assert service.left() == []


async def test_who_finds_no_place_is_told_to_come_again(service: Service, sound: Path) -> None:
    async def slow() -> AsyncIterator[bytes]:
        yield b"FORM"
        await asyncio.sleep(30)

    waiting = [asyncio.create_task(service.post(data=slow())) for _ in range(2)]
    while len(list(service.scratch.glob("room-*"))) < 2:
        await asyncio.sleep(0.02)
    status, headers, _ = await service.post(data=sound.read_bytes())
    assert (status, headers["Retry-After"]) == (503, "10")
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    while service.left():
        await asyncio.sleep(0.02)
    status, _, _ = await service.post(data=sound.read_bytes())
    assert status == 200


async def test_a_client_who_goes_away_takes_the_encoders_along(service: Service, tmp_path: Path) -> None:
    long = aiff(tmp_path / "long.aiff", music(34, rate=44_100, channels=2))
    task = asyncio.create_task(service.post("/transcode?target=m4a", data=long.read_bytes()))
    while not processes(f"file:{service.scratch}"):
        await asyncio.sleep(0.01)
    task.cancel()
    async with asyncio.timeout(60):
        while processes(f"file:{service.scratch}") or service.left():
            await asyncio.sleep(0.02)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert service.left() == []


async def test_health(service: Service) -> None:
    async with service.client.get("/health") as answer:
        assert (answer.status, await answer.json()) == (200, {"status": "ok"})


def test_it_refuses_to_start_without_a_key(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bin.cli", "transcoder", "--data-dir", str(tmp_path)],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "plyr: set PLYR_TRANSCODER_KEY: without a key everybody could use it\n"
    with pytest.raises(ValueError, match="everybody"):
        TranscoderConfig(key="", scratch=tmp_path, max_bytes=1)


@pytest.mark.once
def test_what_a_killed_process_left_is_removed_and_what_is_in_use_is_not(tmp_path: Path) -> None:
    program = "import sys, time; from pathlib import Path; from appview.media.scratch import room\n"
    program += "with room(Path(sys.argv[1])) as made: print(made, flush=True); time.sleep(60)"
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        theirs = Path(other.stdout.readline().strip())
        with room(tmp_path) as mine:
            assert theirs.is_dir()
            assert mine != theirs
        other.kill()
    assert theirs.is_dir()
    with room(tmp_path):
        assert not theirs.exists()
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
