"""The transcoder as a service of its own: `POST /transcode?target=mp3|wav|m4a`, `GET /health`.

Key and target are looked at before a byte of the body is read. The body goes into a file as it comes, the
answer comes out of one: memory is the same for every size. Errors are `{"error": "kind: why"}`. A client who
goes away takes its encoders with it.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from aiohttp import BodyPartReader, web

from appview.media.encode import FORMATS, Target
from appview.media.failures import MediaFailed, NoFfmpeg
from appview.media.probe import probe
from appview.media.scratch import room
from appview.media.transcode import transcode

_CHUNK = 262_144
_PART_CHUNK = 65_536
TARGETS = (Target.MP3, Target.WAV, Target.M4A)


@dataclass(frozen=True, slots=True)
class TranscoderConfig:
    """`jobs`: how many encode at once, each on all cores; as many again may wait. `scratch` needs room for
    each input, its samples and its output. `idle_s`: how long nothing may come of an input, as
    a program whose machine is gone would keep its place for hours."""

    key: str
    scratch: Path
    max_bytes: int
    jobs: int = 1
    max_duration_s: float = 12 * 3600
    workers: int | None = None
    idle_s: float = 60.0

    def __post_init__(self) -> None:
        if not self.key:
            raise ValueError("a transcoder without a key would work for everybody")


class _Refused(Exception):
    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


_CONFIG = web.AppKey("config", TranscoderConfig)
_TURNS = web.AppKey("turns", asyncio.Semaphore)
_PLACES = web.AppKey("places", asyncio.Semaphore)


def build_transcoder(config: TranscoderConfig) -> web.Application:
    """To be run with `handler_cancellation`."""
    app = web.Application()
    app[_CONFIG] = config
    app[_TURNS] = asyncio.Semaphore(config.jobs)
    app[_PLACES] = asyncio.Semaphore(2 * config.jobs)
    app.router.add_get("/health", _health)
    app.router.add_post("/transcode", _transcode)
    return app


async def _health(request: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


async def _transcode(request: web.Request) -> web.StreamResponse:
    try:
        return await _answer(request)
    except _Refused as refused:
        return _error(refused.status, str(refused))
    except NoFfmpeg as error:
        return _error(500, f"ffmpeg error: {error}")
    except MediaFailed as error:
        return _error(400, f"bad request: {error}")
    except OSError as error:
        if isinstance(error, ConnectionError):
            raise
        return _error(500, f"io error: {error.strerror or error}")


async def _answer(request: web.Request) -> web.StreamResponse:
    config = request.app[_CONFIG]
    given = request.headers.get("X-Transcoder-Key", "")
    if not hmac.compare_digest(given.encode(), config.key.encode()):
        raise _Refused(401, "unauthorized: X-Transcoder-Key is missing or wrong")
    target = request.query.get("target", "mp3")
    if target not in TARGETS:
        raise _Refused(400, f"bad request: target must be one of {', '.join(TARGETS)}")
    if (request.content_length or 0) > config.max_bytes + _PART_CHUNK:
        raise _too_large(config)
    places = request.app[_PLACES]
    if places.locked():
        raise _Refused(503, "busy: all places are taken, try again")
    async with places:
        with room(config.scratch) as scratch:
            source, out = scratch / "source", scratch / "out"
            try:
                async with asyncio.timeout(config.idle_s) as idle:
                    stem = await _receive(request, source, config, idle)
            except TimeoutError:
                raise _Refused(408, "bad request: nothing came for too long") from None
            async with request.app[_TURNS]:
                found = await probe(source, max_duration_s=config.max_duration_s)
                await transcode(source, found, Target(target), out, workers=config.workers)
            return await _send(request, out, Target(target), f"{stem}.{target}")


async def _receive(request: web.Request, path: Path, config: TranscoderConfig, idle: asyncio.Timeout) -> str:
    """Write the body, or its field `file`, into a file; returns the name it came with, without its suffix.
    `idle` begins anew with each chunk."""
    stem = "audio"
    if request.content_type.startswith("multipart/"):
        part = await _file_part(request)
        stem = Path(part.filename or stem).stem or stem
        chunks = _chunks_of(part)
    else:
        chunks = request.content.iter_chunked(_CHUNK)
    size = 0
    with path.open("wb") as file:
        async for chunk in chunks:
            idle.reschedule(asyncio.get_running_loop().time() + config.idle_s)
            size += len(chunk)
            if size > config.max_bytes:
                raise _too_large(config)
            file.write(chunk)
    if not size:
        raise _Refused(400, "bad request: the file is empty")
    return stem


async def _file_part(request: web.Request) -> BodyPartReader:
    try:
        async for part in await request.multipart():
            if isinstance(part, BodyPartReader) and part.name == "file":
                return part
    except ValueError as error:
        raise _Refused(400, f"bad request: {error}") from None
    raise _Refused(400, "bad request: the form has no field file")


async def _chunks_of(part: BodyPartReader) -> AsyncIterator[bytes]:
    while chunk := await part.read_chunk(_PART_CHUNK):
        yield bytes(chunk)


async def _send(request: web.Request, path: Path, target: Target, name: str) -> web.StreamResponse:
    response = web.StreamResponse()
    response.content_type = FORMATS[target].mime
    response.content_length = path.stat().st_size  # noqa: ASYNC240 (it was written a moment ago)
    response.headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(name, safe='')}"
    await response.prepare(request)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            await response.write(chunk)
    await response.write_eof()
    return response


def _too_large(config: TranscoderConfig) -> _Refused:
    return _Refused(413, f"bad request: the file is larger than {config.max_bytes >> 20} MiB")


def _error(status: int, text: str) -> web.Response:
    response = web.json_response({"error": text}, status=status)
    if status == 503:
        response.headers["Retry-After"] = "10"
    if status != 200:
        response.force_close()  # much of the body may not have been read
    return response
