"""Tables `sound`: what is known of the bytes of a blob that is sound, whoever has it; and `sound_rendition`:
what was made of one that not every browser plays.

The sound owns its rendition (kind `sound`, owner its blob's id) until the collector forgets it. A rendition
plays everywhere, so it has none itself.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from storage.blobs import rows
from storage.postgres import Connection
from storage.queries import load

_SQL = load("sounds")

OWNER = "sound"


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


async def add_rendition(conn: Connection, blob_id: int, rendition_id: int) -> None:
    """Keep what plays everywhere for as long as the sound that does not; in the caller's transaction. Where
    there is one already, nothing happens. Raises BeingDeleted."""
    params = {"blob_id": blob_id, "rendition_id": rendition_id}
    if await (await conn.execute(_SQL["add_rendition"], params)).fetchone() is not None:
        await rows.claim(conn, rendition_id, kind=OWNER, owner=str(blob_id))


async def has_rendition(conn: Connection, sha256: str) -> bool:
    """Whether there is one of the public sound of this hash."""
    row = await (await conn.execute(_SQL["has_rendition"], {"sha256": sha256})).fetchone()
    return row is not None and bool(row[0])


async def put_analysis(conn: Connection, blob_id: int, body: SoundBody) -> None:
    """Of a sound whose head is there."""
    await conn.execute(_SQL["put_analysis"], {"blob_id": blob_id} | asdict(body))


async def copy_analysis(conn: Connection, from_id: int, to_id: int) -> None:
    """Another blob is the same sound."""
    await conn.execute(_SQL["copy_analysis"], {"from_id": from_id, "to_id": to_id})


async def is_analysed(conn: Connection, blob_id: int) -> bool:
    row = await (await conn.execute(_SQL["is_analysed"], {"blob_id": blob_id})).fetchone()
    return row is not None and bool(row[0])
