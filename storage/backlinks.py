"""Reads of who points at a track: likes, comments, lists."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lexicons.syntax import AtUri
from storage.feed import Page, place_after
from storage.keyset import Place
from storage.queries import in_sight, load
from storage.reader import Reads

_SQL = load("backlinks")

STATEMENTS = {f"backlinks_{name}": in_sight(sql) for name, sql in _SQL.items()}


class Source(StrEnum):
    """What can point at a track."""

    LIKE = "like"
    COMMENT = "comment"
    LIST = "list"


@dataclass(frozen=True, slots=True)
class Count:
    """Records that point at a track, and the accounts that they belong to."""

    records: int
    accounts: int


async def counts(reads: Reads, target: AtUri) -> dict[Source, Count]:
    """Of every source, also of those with nothing."""
    return await _counts(reads, target, None, records=True)


async def count(reads: Reads, source: Source, target: AtUri) -> int:
    """How many records of this source point at it."""
    return (await _counts(reads, target, source, records=True))[source].records


async def accounts(reads: Reads, source: Source, target: AtUri) -> int:
    """How many accounts have such a record."""
    return (await _counts(reads, target, source, records=False))[source].accounts


async def _counts(
    reads: Reads, target: AtUri, source: Source | None, *, records: bool
) -> dict[Source, Count]:
    rows = await reads.fetch(
        "backlinks_counts",
        target.encode(),
        None if source is None else source.encode(),
        b"t" if records else b"f",
    )
    cell = rows.cell
    found = {
        Source((cell(i, 0) or b"").decode()): Count(int(cell(i, 1) or 0), int(cell(i, 2) or 0))
        for i in range(rows.count)
    }
    return dict.fromkeys(Source, Count(0, 0)) | found


async def records(
    reads: Reads, source: Source, target: AtUri, after: Place, limit: int
) -> Page[tuple[str, str]]:
    """(DID, record key) of those that point at it, latest first. Place: `keyset.TIME_REPO_RKEY`."""
    name = f"backlinks_{source}s"
    rows = await reads.fetch(name, target.encode(), *after, b"%d" % (limit + 1))
    found = [
        ((rows.cell(i, 0) or b"").decode(), (rows.cell(i, 1) or b"").decode())
        for i in range(min(limit, rows.count))
    ]
    return Page(found, place_after(rows, limit, 2, 3, 1))
