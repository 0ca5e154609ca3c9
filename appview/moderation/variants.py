"""What a sound's fingerprint is when it is played faster or slower, pitch and all.

The notes of a fingerprint are those of a scale, so that another pitch is another fingerprint: who looks for
copies of other speed asks for each speed. One decoding for all of them.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from appview.media.encode import limits
from appview.media.ffmpeg import run, source
from appview.media.probe import Probe
from appview.moderation.fingerprint import Variant

SPEEDS = (0.98, 0.99, 1.01, 1.02)
_KBPS = 8
_RATE = 44_100


async def variants(path: Path, found: Probe, *, ffmpeg: str | None = None) -> list[Variant]:
    """One for each of SPEEDS, of the first audio stream. Raises Unreadable, LimitExceeded."""
    names = [f"v{number}" for number in range(len(SPEEDS))]
    split = f"[0:a:0]aresample={_RATE},asplit={len(SPEEDS)}" + "".join(f"[in{name}]" for name in names)
    faster = [
        f"[in{name}]asetrate={round(_RATE * speed)}[{name}]"
        for name, speed in zip(names, SPEEDS, strict=True)
    ]
    with tempfile.TemporaryDirectory(prefix="variants-") as folder:
        outputs: list[str] = []
        for name in names:
            outputs += [
                "-map",
                f"[{name}]",
                "-f",
                "chromaprint",
                "-fp_format",
                "raw",
                f"file:{folder}/{name}",
            ]
        arguments = [
            "-v", "info", *source(path, found.container.demuxer),
            "-filter_complex", ";".join([split, *faster]), *outputs,
        ]  # fmt: skip
        await run(arguments, limits(found.duration_s, _KBPS), ffmpeg=ffmpeg)
        prints = [await asyncio.to_thread(Path(folder, name).read_bytes) for name in names]
    return [Variant(speed, data) for speed, data in zip(SPEEDS, prints, strict=True)]
