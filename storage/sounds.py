"""Table `sound`: what is known of the bytes of a blob that is sound, whoever has it."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from storage.postgres import Connection
from storage.queries import load

_SQL = load("sounds")


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


async def put_analysis(conn: Connection, blob_id: int, body: SoundBody) -> None:
    """Of a sound whose head is there."""
    await conn.execute(_SQL["put_analysis"], {"blob_id": blob_id} | asdict(body))


async def copy_analysis(conn: Connection, from_id: int, to_id: int) -> None:
    """Another blob is the same sound."""
    await conn.execute(_SQL["copy_analysis"], {"from_id": from_id, "to_id": to_id})


async def is_analysed(conn: Connection, blob_id: int) -> bool:
    row = await (await conn.execute(_SQL["is_analysed"], {"blob_id": blob_id})).fetchone()
    return row is not None and bool(row[0])
