"""Which blobs may be seen: those of tracks that are in sight."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from storage.blobs.store import Area, Key
from storage.queries import load
from storage.reader import Reads
from storage.sounds import Format

_SQL = load("media")

STATEMENTS = {f"media_{name}": sql for name, sql in _SQL.items()}


class Sight(Enum):
    """SHOWN: of a track that is in sight. HIDDEN: of hidden accounts' tracks alone. NOWHERE: of none, or of
    none that is published yet."""

    SHOWN = 0
    HIDDEN = 1
    NOWHERE = 2


@dataclass(frozen=True, slots=True)
class Found:
    """`title`: of a track that shows it."""

    key: Key
    mime: str
    sight: Sight
    title: str


async def find(
    reads: Reads, area: Area, sha256: str, *, width: int | None = None, form: Format | None = None
) -> Found | None:
    """The blob, or of an image the smallest rendition that is as wide, or of a sound its rendition in this
    form, as MP3 itself where every browser plays it; None where we have no such blob."""
    wide = None if width is None else b"%d" % width
    named = None if form is None else form.encode()
    rows = await reads.fetch("media_blob", area.encode(), b"\\x" + sha256.encode(), wide, named)
    if not rows.count:
        return None
    own, mime, title, hidden = (rows.cell(0, column) for column in range(4))
    sight = Sight.SHOWN if title is not None else Sight.HIDDEN if hidden == b"t" else Sight.NOWHERE
    key = Key(area, (own or b"").decode())
    return Found(key, (mime or b"").decode(), sight, (title or b"").decode())


async def elsewhere(reads: Reads, file_id: str) -> list[tuple[bytes, str | None]]:
    """The members (`track.rest`) of some tracks in sight whose sound is called so, each with the address that
    answered for it when it was last asked."""
    rows = await reads.fetch("media_elsewhere", file_id.encode())
    cells = [(rows.cell(row, 0), rows.cell(row, 1)) for row in range(rows.count)]
    return [(rest or b"", None if url is None else url.decode()) for rest, url in cells]


@dataclass(frozen=True, slots=True)
class TrackMedia:
    """Hashes of what we have of a track: its sound as what it is served, its cover, and an Opus of it.
    `sensitive`: not everybody wants to see the cover."""

    sound: str | None = None
    mime: str | None = None
    cover: str | None = None
    opus: str | None = None
    sensitive: bool = False


async def of_track(reads: Reads, track_id: int) -> TrackMedia:
    """What we have of a track; whether it may be seen is another question."""
    rows = await reads.fetch("media_of_track", b"%d" % track_id)
    if not rows.count:
        return TrackMedia()
    named = [None if cell is None else cell.decode() for cell in (rows.cell(0, n) for n in range(4))]
    return TrackMedia(*named, sensitive=rows.cell(0, 4) == b"t")
