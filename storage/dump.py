"""The public dump: every record that the appview shows, as one Parquet file."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from lexicons.syntax import Nsid
from storage import segment
from storage.postgres import Connection
from storage.queries import load
from storage.segment import BrokenSegment

_ARCHIVE, _SEGMENTS = load("archive"), load("segments")
_CHUNK = 2000


class _Line(msgspec.Struct, gc=False):
    did: str
    collection: str
    rkey: str
    cid: str
    rev: str
    json: str
    indexed_us: int


async def dump(
    conn: Connection,
    file: Path,
    collections: Iterable[Nsid],
    *,
    to_json: Callable[[bytes], str],
    rev_us: Callable[[str], int],
) -> int:
    """Write `file` anew, whole or not at all; returns how many records it holds.

    `to_json` gives a block as JSON text, `rev_us` the time of a rev. Columns: did, collection, rkey, cid,
    rev, json, indexed_at. Raises BrokenSegment when the file cannot be written.
    """
    segment.make(file.parent)
    encode, count = msgspec.json.Encoder().encode_lines, 0
    async with conn.transaction():
        await conn.execute(_ARCHIVE["dumping"])
        with tempfile.NamedTemporaryFile(prefix="dump-", suffix=".part", dir=file.parent) as lines:
            async with conn.cursor("dump") as cursor:
                cursor.itersize = _CHUNK
                await cursor.execute(_ARCHIVE["dump"], {"collections": sorted(collections)})
                while rows := await cursor.fetchmany(_CHUNK):
                    count += len(rows)
                    out = [
                        _Line(did, collection, rkey, cid, rev, to_json(block), rev_us(rev))
                        for did, collection, rkey, cid, rev, block in rows
                    ]
                    lines.write(encode(out))
            lines.flush()
            await asyncio.to_thread(_write, Path(lines.name), file)
    return count


def _write(lines: Path, file: Path) -> None:
    import duckdb  # here: with the first file, not with the process

    part = file.with_name(file.name + ".part")
    try:
        with segment.connect(threads=1) as db:
            db.execute(_SEGMENTS["dump"], {"lines": str(lines), "file": str(part)}).fetchall()
    except duckdb.Error as error:
        raise BrokenSegment(f"cannot write {part}: {error}") from error
    segment.sync(part)
    part.rename(file)
    segment.sync(file.parent)
