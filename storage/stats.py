"""Reads about the whole: whether the database answers, how much there is, how fresh it is."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import orjson

from storage.postgres import Connection
from storage.queries import load
from storage.reader import ReadFailed, Reads

_SQL = load("stats")

STATEMENTS = {f"stats_{name}": _SQL[name] for name in ("alive", "totals", "sources", "size", "kept")}
COUNT = "stats.count"  # the job that counts where nobody can wait for it
FEW = 20_000  # tracks, which are counted in a moment


class NotCounted(ReadFailed):
    """There is too much to count while somebody waits, and no job has counted yet."""


@dataclass(frozen=True, slots=True)
class Totals:
    """How much there is that can be shown."""

    tracks: int
    artists: int
    accounts: int
    likes: int
    comments: int
    lists: int
    plays: int
    seconds: int  # that all tracks take together, as far as they say so

    def counts(self) -> dict[str, int]:
        """All but the seconds."""
        return {name: count for name, count in asdict(self).items() if name != "seconds"}


@dataclass(frozen=True, slots=True)
class SourceRow:
    """How far an event stream is stored. `updated_at` is Postgres' text of a UTC time."""

    url: str
    seq: int
    updated_at: bytes
    age_s: int


async def alive(reads: Reads) -> None:
    """Returns if the database answers. Raises ReadFailed."""
    await reads.fetch("stats_alive")


async def totals(reads: Reads) -> Totals:
    """Counted now where there is little; else by the last job that counted. Raises NotCounted."""
    rows = await reads.fetch("stats_size")
    if int(rows.cell(0, 0) or 0) > FEW:
        rows = await reads.fetch("stats_kept", COUNT.encode())
        if not rows.count:
            raise NotCounted
        return Totals(**orjson.loads(rows.cell(0, 0) or b"{}"))
    rows = await reads.fetch("stats_totals")
    return Totals(*[int(rows.cell(0, column) or 0) for column in range(8)])


async def count(conn: Connection) -> Totals:
    """Counted now, however long it takes."""
    row = await (await conn.execute(_SQL["totals"])).fetchone()
    assert row is not None
    return Totals(*map(int, row))


async def sources(reads: Reads) -> list[SourceRow]:
    rows = await reads.fetch("stats_sources")
    get = rows.cell
    return [
        SourceRow((get(i, 0) or b"").decode(), int(get(i, 1) or 0), get(i, 2) or b"", int(get(i, 3) or 0))
        for i in range(rows.count)
    ]
