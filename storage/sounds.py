"""Tables `sound`: what is known of the bytes of a blob that is sound, whoever has it; and `sound_rendition`:
what was made of one, an MP3 where not every browser plays it, an Opus to be smaller.

The sound owns its renditions (kind `sound`, owner its blob's id) until the collector forgets it. A rendition
has none itself.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum

from psycopg.rows import class_row

from storage.blobs import rows
from storage.blobs.rows import Blob
from storage.postgres import Connection
from storage.queries import load

_SQL = load("sounds")

OWNER = "sound"


class Format(StrEnum):
    """Of renditions."""

    MP3 = "mp3"
    OPUS = "opus"


@dataclass(frozen=True, slots=True)
class SoundHead:
    """What can be told without decoding it. `format`: its container's name."""

    format: str
    codec: str
    rate: int
    channels: int
    duration_s: float
    playable: bool


@dataclass(frozen=True, slots=True)
class SoundBody:
    """What decoding it told, as in `appview.media.analyse`."""

    loudness_lufs: float
    range_lu: float
    peak_dbfs: float | None
    peaks: bytes
    fingerprint: bytes


async def put(conn: Connection, blob_id: int, head: SoundHead) -> None:
    """The first word stays: bytes don't change."""
    await conn.execute(_SQL["put_sound"], {"blob_id": blob_id} | asdict(head))


async def add_rendition(conn: Connection, blob_id: int, rendition_id: int, form: Format) -> None:
    """Keep what was made of a sound for as long as that; in the caller's transaction, in which somebody owns
    it. Where there is one already, nothing happens. Raises BeingDeleted."""
    params = {"blob_id": blob_id, "rendition_id": rendition_id, "format": form}
    if await (await conn.execute(_SQL["add_rendition"], params)).fetchone() is not None:
        await rows.claim(conn, rendition_id, kind=OWNER, owner=str(blob_id))


async def has_rendition(conn: Connection, sha256: str, form: Format) -> bool:
    """Whether there is one of the public sound of this hash."""
    params = {"sha256": sha256, "format": form}
    row = await (await conn.execute(_SQL["has_rendition"], params)).fetchone()
    return row is not None and bool(row[0])


async def original(conn: Connection, blob_id: int, form: Format) -> Blob | None:
    """What a sound was made of that has no such rendition yet and that a track has, which it does until the
    transaction ends; None: there is nothing to be made."""
    async with conn.cursor(row_factory=class_row(Blob)) as cursor:
        await cursor.execute(_SQL["original"], {"blob_id": blob_id, "format": form})
        return await cursor.fetchone()


async def without(conn: Connection, form: Format, *, kind: str, limit: int) -> list[int]:
    """Sounds that were uploaded here and have no such rendition, nor a job of this kind."""
    cursor = await conn.execute(_SQL["without"], {"format": form, "kind": kind, "limit": limit})
    return [int(row[0]) for row in await cursor.fetchall()]


async def put_analysis(conn: Connection, blob_id: int, body: SoundBody) -> None:
    """Of a sound whose head is there."""
    await conn.execute(_SQL["put_analysis"], {"blob_id": blob_id} | asdict(body))


async def copy_analysis(conn: Connection, from_id: int, to_id: int) -> None:
    """Another blob is the same sound."""
    await conn.execute(_SQL["copy_analysis"], {"from_id": from_id, "to_id": to_id})


async def is_analysed(conn: Connection, blob_id: int) -> bool:
    row = await (await conn.execute(_SQL["is_analysed"], {"blob_id": blob_id})).fetchone()
    return row is not None and bool(row[0])


async def unheard(conn: Connection, *, kind: str, limit: int) -> list[int]:
    """Sounds of tracks that have no fingerprint, nor a job of this kind."""
    cursor = await conn.execute(_SQL["unheard"], {"kind": kind, "limit": limit})
    return [int(row[0]) for row in await cursor.fetchall()]


async def played_for(conn: Connection, blob_id: int) -> list[int]:
    """What tracks play instead of a sound that not every browser does."""
    cursor = await conn.execute(_SQL["played_for"], {"blob_id": blob_id})
    return [int(row[0]) for row in await cursor.fetchall()]
