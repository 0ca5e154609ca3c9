"""Whether the sources are blind: the stream flows, and nothing of ours comes by it any more (T16).

The noise of the stream says nothing about that, so silence is measured by what usually comes, hour by
hour, and by what a sweep found: repos with commits that never came.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime

import structlog

from storage import outbox, reconcile
from storage.outbox import Batch, Kind
from storage.postgres import AWAY, Pool

log = structlog.get_logger()

EVERY_S = 60.0
ROWS = 200

SILENT_S = 1800.0  # shorter silences are no news
EXPECTED = 20.0  # records that should have come meanwhile: by chance none does once in half a billion
PER_BEHIND = 5.0  # what a repo that a sweep found behind counts for, in such records


def blindness(silent_s: float | None, records: int, over_s: float, behind: int) -> str | None:
    """What to tell a person if the sources are blind, else None. Pure.

    `silent_s`: since the last record of ours came by the stream; `records` came in `over_s` seconds before;
    `behind` repos were found behind since then.
    """
    if silent_s is None or silent_s < SILENT_S or over_s <= silent_s:
        return None
    usual = records / (over_s - silent_s) * silent_s
    if usual + PER_BEHIND * behind < EXPECTED:
        return None
    text = f"no record of ours came for {silent_s / 3600:,.1f} h, in which {usual:,.0f} are usual"
    return text + (f"; meanwhile {behind:,} repos were found behind" if behind else "")


class PulseCounter:
    """Counts what comes by the stream, from the outbox, until it is cancelled."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def run(self) -> None:
        while True:
            try:
                await self.once()
            except AWAY as error:
                log.warning("pulse waits for the database", error=str(error).strip())
            await asyncio.sleep(EVERY_S)

    async def once(self) -> int:
        """Count everything since the last time, or begin with what comes from now on. Returns how many
        records that was."""
        total = 0
        async with self._pool.connection() as conn:
            seq = await reconcile.pulse_at(conn)
            if seq is None:
                _, seq = await outbox.bounds(conn)
                now = datetime.now(UTC)
                await reconcile.beat(conn, hour=_hour(now), records=0, last_at=now, seq=seq)
        while True:
            async with self._pool.connection() as conn, conn.transaction():
                batches = await outbox.after(conn, seq, rows=ROWS)
                if not batches:
                    return total
                seq = batches[-1].last_seq
                counted, last = _counted(batches)
                for hour in sorted(last):
                    await reconcile.beat(conn, hour=hour, records=counted[hour], last_at=last[hour], seq=seq)
            total += counted.total()


def _counted(batches: list[Batch]) -> tuple[Counter[datetime], dict[datetime, datetime]]:
    """Records that came by a stream, by hour, and the last time that anything came in each hour."""
    counted: Counter[datetime] = Counter()
    last: dict[datetime, datetime] = {}
    for batch in batches:
        hour = _hour(batch.at)
        came = sum(e.kind is Kind.RECORD and e.source_seq is not None for e in batch.entries)
        counted[hour] += came
        if came or hour not in last:
            last[hour] = batch.at
    return counted, last


def _hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)
