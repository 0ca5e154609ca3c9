"""Old plays in sealed Parquet files, as the event archive is: `id, track_id, at, listener`.

Contract: a play is in the table, or in a file that the manifest names; never in none, never in both.

    file written, read back, synced, renamed ─▶ manifest names it and the rows go, one transaction

A crash before that leaves a file that nobody names; the next seal removes it.
"""

from __future__ import annotations

import asyncio
import secrets
import tempfile
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from psycopg.rows import class_row

from storage import segment
from storage.postgres import Connection
from storage.queries import load
from storage.segment import BrokenSegment

_SQL, _DUCK = load("plays"), load("play_segments")

KEEP_DAYS = 35
MOST = 1_000_000


@dataclass(frozen=True, slots=True)
class PlaySegment:
    """A sealed file. `path` is relative to the folder."""

    first_id: int
    last_id: int
    path: str
    rows: int
    bytes: int
    sha256: str


async def segments(conn: Connection) -> list[PlaySegment]:
    """The manifest, oldest first."""
    async with conn.cursor(row_factory=class_row(PlaySegment)) as cursor:
        await cursor.execute(_SQL["segments"])
        return await cursor.fetchall()


async def seal(
    conn: Connection, folder: Path, *, now: datetime | None = None, most: int = MOST
) -> PlaySegment | None:
    """Put about `most` of the plays that are older than KEEP_DAYS and rolled up into one file; None if there
    are none. A transaction of its own. Raises BrokenSegment, with all as it was."""
    segment.make(folder)
    before = (now or datetime.now(UTC)) - timedelta(days=KEEP_DAYS)
    async with conn.transaction():
        await conn.execute(_SQL["lock_segments"])
        await asyncio.to_thread(_remove_strays, folder, {one.path for one in await segments(conn)})
        row = await (await conn.execute(_SQL["sealable"], {"before": before, "most": most})).fetchone()
        assert row is not None
        if not row[2]:
            return None
        first_id, last_id, rows, began = row
        with tempfile.NamedTemporaryFile(prefix="unsealed-", suffix=".part", dir=folder) as lines:
            params = {"first_id": first_id, "last_id": last_id, "salt": secrets.token_bytes(16)}
            async with conn.cursor() as cursor, cursor.copy(_SQL["old_plays"], params) as copy:
                async for data in copy:
                    lines.write(data)
            lines.flush()
            path = Path(f"{began.astimezone(UTC):%Y-%m}", f"plays-{first_id:012d}-{last_id:012d}.parquet")
            await asyncio.to_thread(_write, folder, path, Path(lines.name), (rows, first_id, last_id, rows))
        file = folder / path
        size, digest = file.stat().st_size, await asyncio.to_thread(segment.digest, file)
        done = PlaySegment(first_id, last_id, path.as_posix(), rows, size, digest)
        await conn.execute(_SQL["add_segment"], asdict(done))
        await conn.execute(_SQL["drop_sealed"], {"first_id": first_id, "last_id": last_id})
    return done


def _write(folder: Path, path: Path, lines: Path, expected: tuple[int, int, int, int]) -> None:
    """The file, whole and on disk under its name. `expected`: rows, first and last id, different ids."""
    import duckdb  # here: with the first file, not with the process

    final = folder / path
    final.parent.mkdir(parents=True, exist_ok=True)
    part = final.with_name(final.name + ".part")
    try:
        with segment.connect(threads=1) as db:
            db.execute(_DUCK["seal"], {"lines": str(lines), "file": str(part)}).fetchall()
            found = db.execute(_DUCK["check"], {"file": str(part)}).fetchall()[0]
    except duckdb.Error as error:  # the disk is full, as a rule
        raise BrokenSegment(f"cannot write {part}: {error}") from error
    if found != expected:
        raise BrokenSegment(f"{part} holds {found}, not {expected}")
    segment.sync(part)
    part.rename(final)
    segment.sync(final.parent)


def _remove_strays(folder: Path, listed: set[str]) -> None:
    """Files that a crash left. Only for who holds the manifest's lock: nobody else is writing one."""
    for file in [*folder.glob("unsealed-*.part"), *folder.glob("*/*.parquet.part")]:
        file.unlink(missing_ok=True)
    for file in folder.glob("*/plays-*.parquet"):
        if file.relative_to(folder).as_posix() not in listed:
            file.unlink(missing_ok=True)
