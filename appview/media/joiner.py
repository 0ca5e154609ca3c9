"""One MP3 out of the parts that several encoders made, which is written while the later ones are at work.

    with Joiner(out, head, sound) as joiner:
        joiner.add(segment, part)    # in their order; the part goes
        joiner.finish()

    out:  head │ tag │ frames of the first part │ of the second │ …

The tag tells the size and sum of all frames, so its place is kept free until they are there.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from types import TracebackType

from appview.media import mp3
from appview.media.crc16 import crc16
from appview.media.failures import Unreadable
from appview.media.pcm import Pcm
from appview.media.segments import Segment


class Joiner:
    """`head` stands before everything. Raises Unreadable where parts are not what an encoder should have made
    of `sound`."""

    def __init__(self, out: Path, head: bytes, sound: Pcm) -> None:
        self._file = out.open("wb")
        self._head = head
        self._samples = sound.frames
        self._first = b""
        self._frames = 0
        self._bytes = 0
        self._crc = 0

    def __enter__(self) -> Joiner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, segment: Segment, part: Path) -> None:
        """Take over the frames that are the segment's own."""
        if not part.stat().st_size:
            raise Unreadable("the encoder wrote nothing")
        with (
            part.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
            memoryview(data) as view,
        ):
            kept = mp3.cut(view, skip=segment.skip, count=segment.count)
            if not self._first:
                self._first = bytes(view[kept.start : kept.start + 4])
                self._file.seek(len(self._head) + mp3.tag_bytes(self._first))
            with view[kept.start : kept.stop] as frames:
                self._crc = crc16(frames, self._crc)
            self._file.flush()
            at = kept.start
            while at < kept.stop:
                at += os.sendfile(self._file.fileno(), file.fileno(), at, kept.stop - at)
        self._frames += kept.frames
        self._bytes += kept.stop - kept.start
        part.unlink()

    def finish(self) -> None:
        """Write what stands in front."""
        tag = mp3.info_frame(
            self._first,
            frames=self._frames,
            sound_bytes=self._bytes,
            samples=self._samples,
            sound_crc=self._crc,
        )
        self._file.seek(0)
        self._file.write(self._head + tag)
