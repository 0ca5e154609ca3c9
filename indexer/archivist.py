"""Seals the outbox into the archive, again and again, and prunes what nobody is promised any more."""

from __future__ import annotations

import asyncio
from pathlib import Path

import structlog

from storage import archive
from storage.archive import Waiting
from storage.postgres import AWAY, Connection, Pool
from storage.segment import BrokenSegment, Segment

log = structlog.get_logger()

SEAL_ENTRIES = 100_000
SEAL_AGE_S = 3600.0
PAUSE_S = 30.0


def is_due(waiting: Waiting, *, entries: int, age_s: float) -> bool:
    """Whether so much waits, or for so long, that a segment is worth its file."""
    return waiting.entries >= entries or (waiting.entries > 0 and waiting.age_s >= age_s)


async def seal_all(conn: Connection, folder: Path, *, entries: int) -> list[Segment]:
    """Seal whatever there is now, in files of about `entries` each. Raises BrokenSegment."""
    upto = await archive.sealed(conn) + (await archive.waiting(conn)).entries
    done: list[Segment] = []
    while await archive.sealed(conn) < upto:
        sealed = await archive.seal(conn, folder, most=entries)
        if sealed is None:
            break
        done.append(sealed)
    return done


class Archivist:
    """An endless loop. The database may go away meanwhile; a disk that is full is told, and tried again."""

    def __init__(
        self,
        *,
        pool: Pool,
        folder: Path,
        outbox_hours: int,
        seal_entries: int = SEAL_ENTRIES,
        seal_age_s: float = SEAL_AGE_S,
        pause_s: float = PAUSE_S,
    ) -> None:
        self._pool = pool
        self._folder = folder
        self._outbox_hours = outbox_hours
        self._seal_entries = seal_entries
        self._seal_age_s = seal_age_s
        self._pause_s = pause_s

    async def run(self) -> None:
        while True:
            try:
                await self.turn()
            except AWAY as error:
                log.warning("the archive waits for the database", error=str(error).strip())
            except (BrokenSegment, OSError) as error:
                log.warning("cannot seal", error=str(error), folder=str(self._folder))
            await asyncio.sleep(self._pause_s)

    async def turn(self) -> list[Segment]:
        """One look: seal what is due, prune what is old. Returns what was sealed."""
        done: list[Segment] = []
        async with self._pool.connection() as conn:
            while is_due(await archive.waiting(conn), entries=self._seal_entries, age_s=self._seal_age_s):
                sealed = await archive.seal(conn, self._folder, most=self._seal_entries)
                if sealed is None:
                    break
                log.info("sealed", path=sealed.path, entries=sealed.rows, bytes=sealed.bytes)
                done.append(sealed)
            pruned = await archive.prune(conn, hours=self._outbox_hours)
        if pruned:
            log.info("pruned the outbox", rows=pruned)
        return done
