"""Sounds of tracks in a database, by their fingerprints alone."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from storage.postgres import Connection


async def add_tracks(conn: Connection, did: str, prints: Sequence[bytes]) -> list[int]:
    """One track each, of rkey `0`, `1`, …; the ids of their sounds."""
    ids: list[int] = []
    for number, data in enumerate(prints):
        digest = hashlib.sha256(f"{did}/{number}".encode() + data).digest()
        cursor = await conn.execute(
            "insert into blob (area, sha256, bytes, crc32, mime, state) "
            "values ('audio', %s, 1, 0, 'audio/mpeg', 'published') returning id",
            (digest,),
        )
        row = await cursor.fetchone()
        assert row is not None
        ids.append(int(str(row[0])))
        await conn.execute(
            "insert into sound (blob_id, format, codec, rate, channels, duration_s, playable, fingerprint) "
            "values (%s, 'mp3', 'mp3', 44100, 2, 30, true, %s)",
            (ids[-1], data),
        )
        await conn.execute(
            "insert into track_media (did, rkey, original_id, stream_id, published_at) "
            "values (%s, %s, %s, %s, now())",
            (did, str(number), ids[-1], ids[-1]),
        )
    return ids
