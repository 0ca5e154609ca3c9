"""A picture that somebody sent becomes one that everybody may see, and smaller ones for `srcset`.

    async with pool.connection() as conn:
        with room(scratch) as place:
            image = await store_image(conn, store, await prepare(path, place))

`redraw.py` decodes it in a process of its own, confined as ffmpeg is, and draws it anew: only pixels are
published. A JPEG is written with its own quantization, PNG and lossless WebP stay exact, GIF becomes PNG, an
animation WebP; its renditions are of the first frame. Nothing is ever made larger, and more than MOST_SIDE
pixels on a side become less.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog

from appview.media import failures
from appview.media.failures import LimitExceeded, MediaFailed, TooLarge, Unreadable
from appview.media.ffmpeg import Limits
from storage import images
from storage.blobs.publishing import publish
from storage.blobs.rows import Blob
from storage.blobs.store import Area, BlobStore
from storage.postgres import Connection

WIDTHS = (160, 320, 640, 1200)
MOST_BYTES = 20 << 20
MOST_PIXELS = 64_000_000
MOST_SIDE = 3000
_MOST_ANIMATED_PIXELS = 256_000_000
_LIMITS = Limits(cpu_s=60, wall_s=180, memory_bytes=1 << 30, file_bytes=64 << 20)
_CONFINE = Path(__file__).parent / "confine.py"
_REDRAW = Path(__file__).parent / "redraw.py"
_MOST_TOLD = 65_536
_CHUNK = 1 << 20

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Drawn:
    """A file with a picture. `width` and `height` in pixels."""

    path: Path
    mime: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is published, and its renditions, each narrower, as WebP. `frames` of an animation are many."""

    published: Drawn
    renditions: tuple[Drawn, ...]
    frames: int = 1


class _File(msgspec.Struct):
    file: str
    mime: str
    width: int
    height: int


class _Told(msgspec.Struct):
    """What `redraw.py` prints: files, or the kind and text of a failure."""

    files: list[_File] = []
    frames: int = 1
    kind: str | None = None
    text: str = ""


async def prepare(
    path: Path, out: Path, *, limits: Limits = _LIMITS, max_bytes: int = MOST_BYTES
) -> Prepared:
    """Draw the picture in a file anew, into the empty folder `out`, which is the caller's. Raises NotImage,
    TooLarge, Truncated, Unreadable, LimitExceeded."""
    if (await asyncio.to_thread(path.stat)).st_size > max_bytes:
        raise TooLarge(f"image too large (max {max_bytes >> 20}MB)")
    told = await _redraw(
        {
            "source": str(path),
            "out": str(out),
            "widths": WIDTHS,
            "max_pixels": MOST_PIXELS,
            "max_animated_pixels": _MOST_ANIMATED_PIXELS,
            "max_side": MOST_SIDE,
        },
        limits,
    )
    first, *rest = (Drawn(out / each.file, each.mime, each.width, each.height) for each in told.files)
    return Prepared(first, tuple(rest), told.frames)


async def store_image(conn: Connection, store: BlobStore, prepared: Prepared) -> Blob:
    """The published blob of the picture, whose renditions it owns: they stay as long as it does.

    Nobody owns the picture yet: claim it within the grace. Each content is stored once, and doing it again
    after a crash changes nothing. `conn` is in no transaction. Raises StoreDown, BeingDeleted.
    """
    blob = await _publish(conn, store, prepared.published)
    await store_renditions(conn, store, blob.id, prepared)
    return blob


async def store_renditions(conn: Connection, store: BlobStore, image_id: int, prepared: Prepared) -> None:
    """Give a published picture its renditions, and note that it has them. `conn` is in no transaction. Raises
    StoreDown, BeingDeleted."""
    for drawn in prepared.renditions:
        rendition = await _publish(conn, store, drawn)
        async with conn.transaction():
            await images.add_rendition(conn, image_id, drawn.width, drawn.height, rendition.id)
    await images.drawn(conn, image_id, prepared.published.width)


async def _publish(conn: Connection, store: BlobStore, drawn: Drawn) -> Blob:
    name = f"image-{uuid.uuid4()}"
    digest = await store.stage(name, _chunks(drawn.path))
    return await publish(conn, store, name, Area.IMAGE, digest, mime=drawn.mime)


async def _chunks(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while chunk := await asyncio.to_thread(file.read, _CHUNK):
            yield chunk


async def _redraw(task: dict[str, object], limits: Limits) -> _Told:
    """Run it to its end; after that, and where the task is cancelled, the process is dead."""
    confined = {
        "cpu_s": limits.cpu_s,
        "memory_bytes": limits.memory_bytes,
        "file_bytes": limits.file_bytes,
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", str(_CONFINE), json.dumps(confined)),
        *(sys.executable, "-I", str(_REDRAW), json.dumps(task)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"LC_ALL": "C"},
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(limits.wall_s):
            said, words = await process.communicate()
    except TimeoutError:
        raise LimitExceeded(f"it takes longer than {limits.wall_s:.0f} s") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if process.returncode in (-signal.SIGXCPU, -signal.SIGKILL, -signal.SIGXFSZ):
        raise LimitExceeded("the picture takes more time, memory or space than is allowed")
    if process.returncode:
        text = words[-_MOST_TOLD:].decode(errors="replace")
        log.warning("picture not decoded", code=process.returncode, log=text)  # nothing that we foresaw
        raise Unreadable("the picture cannot be decoded", text)
    told = msgspec.json.decode(said[-_MOST_TOLD:], type=_Told)
    if told.kind is not None:
        raise _failure(told.kind)(told.text)
    return told


def _failure(kind: str) -> type[MediaFailed]:
    return {
        each.__name__: each
        for each in (failures.NotImage, TooLarge, failures.Truncated, Unreadable, LimitExceeded)
    }[kind]
