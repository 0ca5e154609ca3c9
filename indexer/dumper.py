"""Writes the public dump night after night, and keeps the last few.

What is due is told by the files themselves: a dump is whole or not there, so a crash leaves it due.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import orjson
import structlog

from lexicons.catalog import Catalog
from lexicons.datamodel import decode, to_json
from lexicons.syntax import Rev, tid_time_us
from storage import dump
from storage.postgres import AWAY, Connection, Pool
from storage.segment import BrokenSegment

log = structlog.get_logger()

PAUSE_S = 60.0


def named(folder: Path, at: datetime) -> Path:
    """The dump of a day."""
    return folder / f"plyr-{at:%Y-%m-%d}.parquet"


async def write(conn: Connection, catalog: Catalog, file: Path) -> int:
    """Every record that the appview shows; returns how many. Raises BrokenSegment and OSError."""
    return await dump.dump(
        conn, file, catalog.collections.own, to_json=as_json, rev_us=lambda rev: tid_time_us(Rev(rev))
    )


def as_json(block: bytes) -> str:
    """A record as JSON text."""
    return orjson.dumps(to_json(decode(block))).decode()


class Dumper:
    """An endless loop; `every_s` 0: none. A disk that is full is told, and tried again."""

    def __init__(
        self,
        *,
        pool: Pool,
        catalog: Catalog,
        folder: Path,
        every_s: float,
        keep: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._pool = pool
        self._catalog = catalog
        self._folder = folder
        self._every_s = every_s
        self._keep = keep
        self._clock = clock

    async def run(self) -> None:
        while self._every_s:
            try:
                await self.turn()
            except AWAY as error:
                log.warning("the dump waits for the database", error=str(error).strip())
            except (BrokenSegment, OSError) as error:
                log.warning("cannot write the dump", error=str(error), folder=str(self._folder))
            await asyncio.sleep(PAUSE_S)

    async def turn(self) -> Path | None:
        """One look: write today's if it is due, remove the oldest. Returns what was written."""
        now = self._clock()
        dumps = self._dumps()
        if dumps and now - dumps[-1].stat().st_mtime < self._every_s:
            return None
        file = named(self._folder, datetime.fromtimestamp(now, UTC))
        async with self._pool.connection() as conn:
            records = await write(conn, self._catalog, file)
        if not records:  # nothing was found yet; nobody is to wait a day for the first
            file.unlink()
            return None
        log.info("dumped", file=file.name, records=records, bytes=file.stat().st_size)
        for old in self._dumps()[: -self._keep]:
            old.unlink()
        return file

    def _dumps(self) -> list[Path]:
        """Oldest first."""
        return sorted(self._folder.glob("plyr-????-??-??.parquet"))
