"""What a sound's fingerprint is when it is played faster or slower, pitch and all.

The notes of a fingerprint are those of a scale: up to 0.75 % it stays nearly the same, and at 2 % it is
another one. So whoever looks for copies of other speed asks for each speed. One decoding makes all of them.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import structlog

from appview.media.analyse import CHROMAPRINT, higher
from appview.media.encode import limits
from appview.media.failures import MediaFailed, NoFfmpeg
from appview.media.ffmpeg import run, source
from appview.media.probe import Probe, probe
from appview.media.scratch import kept_file
from appview.moderation.fingerprint import Variant
from storage.blobs.store import Area, BlobMissing, BlobStore, Key

log = structlog.get_logger()

SPEEDS = (0.985, 1.015)
"""Nothing up to 2 % is farther from the nearest, or from the sound as it is, than 0.75 %."""
_KBPS = 8


class Variants:
    """Makes them of public sound in a store."""

    def __init__(self, store: BlobStore, scratch: Path, ffmpeg: str | None = None) -> None:
        self._store = store
        self._scratch = scratch
        self._ffmpeg = ffmpeg

    async def of(self, sha256: str) -> list[Variant]:
        """Of the sound of this hash. None of what cannot be decoded, or is gone: the log says so. Raises
        StoreDown, NoFfmpeg."""
        try:
            async with kept_file(self._store, Key(Area.AUDIO, sha256), self._scratch) as path:
                return await variants(path, await probe(path, ffmpeg=self._ffmpeg), ffmpeg=self._ffmpeg)
        except NoFfmpeg:
            raise
        except (MediaFailed, BlobMissing) as error:
            log.warning("a sound is compared at its own speed alone", sha256=sha256, reason=str(error))
            return []


async def variants(path: Path, found: Probe, *, ffmpeg: str | None = None) -> list[Variant]:
    """One for each of SPEEDS, of the first audio stream. Raises Unreadable, LimitExceeded."""
    names = [f"v{number}" for number in range(len(SPEEDS))]
    split = f"[0:a:0]asplit={len(SPEEDS)}" + "".join(f"[in{name}]" for name in names)
    faster = [
        f"[in{name}]{higher(found.rate, speed)}[{name}]" for name, speed in zip(names, SPEEDS, strict=True)
    ]
    with tempfile.TemporaryDirectory(prefix="variants-") as folder:
        outputs: list[str] = []
        for name in names:
            outputs += ["-map", f"[{name}]", *CHROMAPRINT, f"file:{folder}/{name}"]
        arguments = [
            "-v", "info", *source(path, found.container.demuxer),
            "-filter_complex", ";".join([split, *faster]), *outputs,
        ]  # fmt: skip
        await run(arguments, limits(found.duration_s, _KBPS), ffmpeg=ffmpeg)
        prints = [await asyncio.to_thread(Path(folder, name).read_bytes) for name in names]
    return [Variant(data, speed) for speed, data in zip(SPEEDS, prints, strict=True)]
