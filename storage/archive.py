"""The event archive: the outbox, sealed into Parquet files; table `archive_segment` is its manifest.

Contract: the segments follow each other without a hole from seq 1 on, and whatever they do not hold yet
is still in the outbox. A segment counts once its row is committed:

    lock the manifest ─▶ write, sync, rename the file ─▶ add its row ─▶ commit

After a crash before the commit the same entries are sealed again, under the manifest's next row.
"""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from psycopg.rows import class_row

from storage import outbox, segment
from storage.postgres import Connection
from storage.queries import load
from storage.segment import BrokenSegment, Segment

_SQL = load("archive")
_PAGE = 64  # rows of the outbox at a time: a few megabytes
MOST_BYTES = 256 << 20  # of lines, in one segment


@dataclass(frozen=True, slots=True)
class Waiting:
    """What the outbox holds that no segment does. `age_s` is that of the oldest entry."""

    entries: int
    age_s: float


@dataclass(frozen=True, slots=True)
class Spooled:
    """Entries written out as lines, up to `last_seq`."""

    last_seq: int
    month: str


async def segments(conn: Connection) -> list[Segment]:
    """The manifest, oldest first. Raises BrokenSegment where it has a hole."""
    async with conn.cursor(row_factory=class_row(Segment)) as cursor:
        await cursor.execute(_SQL["segments"])
        found = await cursor.fetchall()
    expected = 1
    for one in found:
        if one.first_seq != expected:
            raise BrokenSegment(f"the archive lacks seqs {expected} to {one.first_seq - 1}")
        expected = one.last_seq + 1
    return found


async def waiting(conn: Connection) -> Waiting:
    row = await (await conn.execute(_SQL["waiting"])).fetchone()
    assert row is not None
    return Waiting(int(row[0]), float(row[1] or 0))


async def seal(conn: Connection, folder: Path, *, most: int) -> Segment | None:
    """Seal about `most` of the oldest unsealed entries into one file; None if there are none.

    A transaction of its own: whoever else seals meanwhile waits, and then finds less to do. Raises
    BrokenSegment, with nothing in the manifest, when the file is not what it should be.
    """
    segment.make(folder)
    async with conn.transaction():
        await conn.execute(_SQL["lock"])
        above = await sealed(conn)
        with tempfile.NamedTemporaryFile(prefix="unsealed-", suffix=".part", dir=folder) as lines:
            spooled = await spool(conn, lines.file, above=above, most=most)
            if spooled is None:
                return None
            lines.flush()
            done = await asyncio.to_thread(
                segment.write,
                folder,
                Path(lines.name),
                first_seq=above + 1,
                last_seq=spooled.last_seq,
                month=spooled.month,
            )
        await conn.execute(_SQL["add"], asdict(done))
    return done


async def adopt(conn: Connection, folder: Path) -> list[Segment]:
    """Enter into the manifest the files in `folder` that follow it: a database that was lost, or is older
    than its archive, can then be replayed. All of them or none.

    Raises BrokenSegment for a file that is not whole, and where this database has gone on by itself.
    """
    async with conn.transaction():
        await conn.execute(_SQL["lock"])
        above = await sealed(conn)
        done = await asyncio.to_thread(segment.following, folder, above)
        for one in done:
            await conn.execute(_SQL["add"], asdict(one))
        if done:
            params = {"seq": done[-1].last_seq, "sealed": above}
            if await (await conn.execute(_SQL["reach"], params)).fetchone() is None:
                raise BrokenSegment(
                    f"this database went on after seq {above} by itself: the files are not its past"
                )
    return done


async def sealed(conn: Connection) -> int:
    """The last seq that is in a segment."""
    row = await (await conn.execute(_SQL["sealed"])).fetchone()
    assert row is not None
    return int(row[0])


async def spool(conn: Connection, lines: IO[bytes], *, above: int, most: int | None = None) -> Spooled | None:
    """Write the entries above a seq as lines, whole batches, until about `most`; None if there are none."""
    reached, size, month = above, 0, ""
    while True:
        batches = await outbox.after(conn, reached, rows=_PAGE)
        for batch in batches:
            size += lines.write(segment.lines(batch, above=above))
            reached, month = batch.last_seq, f"{batch.at:%Y-%m}"
            if most is not None and (reached - above >= most or size >= MOST_BYTES):
                return Spooled(reached, month)
        if len(batches) < _PAGE:
            return Spooled(reached, month) if reached > above else None


async def prune(conn: Connection, *, hours: int) -> int:
    """Remove from the outbox what is sealed and older than `hours`. Returns how many rows that were."""
    row = await (await conn.execute(_SQL["prunable"], {"hours": hours})).fetchone()
    assert row is not None
    return await outbox.prune(conn, upto=int(row[0]))


async def rewind(conn: Connection, url: str, seq: int) -> bool:
    """Put a source's cursor at `seq`. False: this source was never read."""
    return await (await conn.execute(_SQL["rewind"], {"url": url, "seq": seq})).fetchone() is not None


async def ingesting(conn: Connection, names: list[str]) -> bool:
    """Whether a process under one of these names is connected to this database."""
    row = await (await conn.execute(_SQL["ingesting"], {"names": names})).fetchone()
    assert row is not None
    return bool(row[0])
