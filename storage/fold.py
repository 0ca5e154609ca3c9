"""What is true after everything in the archive, as far as SQL can tell: DuckDB over the segments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from lexicons.syntax import Cid, Did, Handle, Nsid, Rev
from storage.queries import load
from storage.segment import BrokenSegment, open_events

_SQL = load("fold")
CHUNK = 5000


class Step(NamedTuple):
    """Something that moved a repo. `at_us` is the same for what was committed together; `gaps` and `before`
    are JSON. `over` and `forked` as in `storage.outbox`."""

    did: Did
    seq: int
    at_us: int
    kind: str
    rev: Rev | None
    since: Rev | None
    data: Cid | None
    prev_data: Cid | None
    verdict: str | None
    gaps: str | None
    before: str | None
    synced_rev: Rev | None
    over: Rev | None
    forked: bool | None


class Account(NamedTuple):
    """What was last said of an account. `since_us`: when it was first tracked. `withheld`: its bytes that
    are down, as JSON, like `repo.withheld`."""

    id: int
    did: Did
    handle: Handle | None
    pds: str | None
    signing_key: str | None
    active: bool
    status: str | None
    taken_down: str | None
    since_us: int
    withheld: str | None


class RecordRow(NamedTuple):
    """The newest version of a record; `cid` and `block` None: deleted. `taken_down`: why nothing is made of
    it, `unlisted`: why it is listed nowhere. `withheld`: of its account."""

    repo_id: int
    did: str
    collection: str
    rkey: str
    rev: str
    cid: str | None
    block: bytes | None
    verified: bool
    pds: str | None
    taken_down: str | None
    withheld: str | None
    unlisted: str | None


class Looks(NamedTuple):
    """An account and its two profile records."""

    repo_id: int
    did: str
    handle: str | None
    hidden: bool
    own: bytes | None
    bluesky: bytes | None
    withheld: str | None


class Rejected(NamedTuple):
    """An event that is still set aside."""

    source: str
    digest: str
    seq: int | None
    did: str | None
    reason: str
    detail: str
    raw: bytes
    at_us: int


@dataclass(frozen=True, slots=True)
class Part:
    """One share of the newest versions, in files of its own; `names` are everybody's."""

    records: tuple[str, ...]
    profiles: tuple[str, ...]
    names: str


class Fold:
    """The archive, folded. Rows come in chunks, so that no more than a few thousand are in memory."""

    def __init__(self, db: duckdb.DuckDBPyConnection, files: list[Path]) -> None:
        self._db = db
        open_events(db, files)
        for name in (
            "newest",
            "account",
            "withheld",
            "withheld_bytes",
            "unlisted",
            "name",
            "step",
            "hearsay",
        ):
            db.execute(_SQL[name]).fetchall()
        lost = db.execute(_SQL["lost"]).fetchall()[0][0]
        if lost:
            raise BrokenSegment(f"the archive holds {lost:,} records of accounts that it never introduced")

    @property
    def counts(self) -> tuple[int, int]:
        """Entries, and how many of them are versions of records."""
        return self._db.execute(_SQL["counts"]).fetchall()[0]

    def steps(self) -> Iterator[Step]:
        """By account, in order of seq."""
        return map(Step._make, _rows(self._db, "steps"))

    def accounts(self) -> Iterator[Account]:
        return map(Account._make, _rows(self._db, "accounts"))

    def names(self) -> Iterator[tuple[int, str]]:
        return _rows(self._db, "all_names")

    @property
    def highest_list(self) -> int:
        """The highest number that a list was given, 0 if the archive knows of none."""
        return int(self._db.execute(_SQL["highest_list"]).fetchall()[0][0])

    def rejected(self) -> Iterator[Rejected]:
        return map(Rejected._make, _rows(self._db, "rejected"))

    def forgotten(self) -> Iterator[tuple[str, int]]:
        """The hash, in hex, of each DID that is to be left out, and since when (microseconds)."""
        return _rows(self._db, "forgotten")

    def share(self, folder: Path, parts: int, *, own: Nsid, bluesky: Nsid) -> list[Part]:
        """Write the newest versions below `folder`, shared out by account among so many parts."""
        records, profiles, names = folder / "records", folder / "profiles", folder / "names.parquet"
        self._db.execute(_SQL["records"], {"parts": parts, "folder": str(records)}).fetchall()
        self._db.execute(
            _SQL["profiles"], {"parts": parts, "folder": str(profiles), "own": own, "bluesky": bluesky}
        ).fetchall()
        self._db.execute(_SQL["names"], {"file": str(names)}).fetchall()
        found = [Part(_files(records, n), _files(profiles, n), str(names)) for n in range(parts)]
        return [part for part in found if part.records or part.profiles]


def records(db: duckdb.DuckDBPyConnection, part: Part) -> Iterator[list[RecordRow]]:
    """The records of one part, in chunks."""
    if part.records:
        db.execute(_SQL["part_records"], {"files": list(part.records)})
        while rows := db.fetchmany(CHUNK):
            yield list(map(RecordRow._make, rows))


def profiles(db: duckdb.DuckDBPyConnection, part: Part) -> Iterator[list[Looks]]:
    """The accounts of one part, in chunks."""
    if part.profiles:
        db.execute(_SQL["part_profiles"], {"files": list(part.profiles)})
        while rows := db.fetchmany(CHUNK):
            yield list(map(Looks._make, rows))


def names(db: duckdb.DuckDBPyConnection, part: Part) -> dict[str, int]:
    """Every track URI's number, and every list's."""
    return dict(db.execute(_SQL["part_names"], {"files": [part.names]}).fetchall())


def source_seq(db: duckdb.DuckDBPyConnection, files: list[Path], source: str, moment: str) -> int | None:
    """The seq of the last entry that came from a source until a moment (ISO 8601); None: none did."""
    open_events(db, files)
    return db.execute(_SQL["source_seq"], {"source": source, "moment": moment}).fetchall()[0][0]


def _rows(db: duckdb.DuckDBPyConnection, name: str) -> Iterator[tuple[Any, ...]]:
    db.execute(_SQL[name])
    while rows := db.fetchmany(CHUNK):
        yield from rows


def _files(folder: Path, part: int) -> tuple[str, ...]:
    return tuple(sorted(map(str, (folder / f"part={part}").glob("*.parquet"))))
