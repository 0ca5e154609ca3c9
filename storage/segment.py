"""One Parquet file of the archive: every entry of the outbox from one seq to another, whole.

Contract: a file under its final name is complete and on disk. It is written under another name, read
back, synced, renamed, and the folder is synced, so a crash leaves either the file or nothing of it:

    x.parquet.part (written, checked, fsync) ─▶ rename to x.parquet ─▶ fsync of the folder

The columns are those of an entry: `seq, received_at, kind, source, source_seq, did, rev, collection,
rkey, action, cid, block, verdict, reason, detail`; the meaning of each is in `storage.outbox`.

A file is never changed. What must go out of one is left out of a new one, whose name counts how often that
was so (`….2.parquet`); the old one is removed once the manifest names the new one.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from storage.outbox import Batch, Entry, Kind
from storage.queries import load

if TYPE_CHECKING:  # it is loaded with the first file, not with the process
    import duckdb

_SQL = load("segments")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_HASH_CHUNK = 1 << 20
_NAME = re.compile(r"(\d{12,})-(\d{12,})(?:\.(\d+))?\.parquet")


class BrokenSegment(Exception):
    """A segment is not what it should be: it is missing, was changed, or lacks entries."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A sealed file and what the manifest says of it. `path` is relative to the archive's folder."""

    first_seq: int
    last_seq: int
    path: str
    rows: int
    bytes: int
    sha256: str


class _Line(msgspec.Struct, omit_defaults=True, gc=False):
    """One row on its way to DuckDB; JSON has no bytes, so `block` travels as base64."""

    seq: int
    received_us: int
    kind: str
    source: str
    source_seq: int | None = None
    did: str | None = None
    rev: str | None = None
    collection: str | None = None
    rkey: str | None = None
    action: str | None = None
    cid: str | None = None
    block: bytes | None = None
    verdict: str | None = None
    reason: str | None = None
    detail: str | None = None


_encode = msgspec.json.Encoder()


def make(folder: Path) -> None:
    """The archive's folder, empty where it was not there."""
    folder.mkdir(parents=True, exist_ok=True)


def lines(batch: Batch, *, above: int = 0) -> bytes:
    """The batch's entries with a seq higher than `above`, as lines for `write`."""
    received_us = (batch.at - _EPOCH) // _MICROSECOND
    return _encode.encode_lines(
        [
            _line(seq, received_us, entry)
            for seq, entry in enumerate(batch.entries, batch.first_seq)
            if seq > above
        ]
    )


def write(folder: Path, source: Path, *, first_seq: int, last_seq: int, month: str) -> Segment:
    """Seal the lines in the file `source` as a segment below `folder`. Raises BrokenSegment unless they
    hold every seq of the range exactly once.

    The catch: it computes and writes for a second or more for 100,000 entries; call it in a thread.
    """
    import duckdb

    path = Path(month, f"{first_seq:012d}-{last_seq:012d}.parquet")
    final = folder / path
    final.parent.mkdir(parents=True, exist_ok=True)
    part = final.with_name(final.name + ".part")
    try:
        with connect(threads=1) as db:
            db.execute(_SQL["seal"], {"lines": str(source), "file": str(part)}).fetchall()
            check(db, part, first_seq, last_seq)
    except duckdb.Error as error:  # the disk is full, as a rule
        raise BrokenSegment(f"cannot write {part}: {error}") from error
    sync(part)
    part.rename(final)
    sync(final.parent)
    return _segment(folder, path, first_seq, last_seq)


def _segment(folder: Path, path: Path, first_seq: int, last_seq: int) -> Segment:
    file = folder / path
    rows = last_seq - first_seq + 1
    return Segment(first_seq, last_seq, path.as_posix(), rows, file.stat().st_size, digest(file))


def following(folder: Path, above: int) -> list[Segment]:
    """The segments below `folder` that follow seq `above` without a hole, each read and found whole. Where
    several begin at the same seq the longest counts, and of its versions the newest: a crash may have left
    others."""
    import duckdb

    longest: dict[int, tuple[int, int, Path]] = {}
    for file in folder.glob("*/*.parquet"):
        if named := _NAME.fullmatch(file.name):
            first, last, version = int(named[1]), int(named[2]), int(named[3] or 1)
            longest[first] = max(longest.get(first, (0, 0, file)), (last, version, file))
    found: list[Segment] = []
    with connect(threads=1) as db:
        while above + 1 in longest:
            first, (last, _, file) = above + 1, longest[above + 1]
            try:
                check(db, file, first, last)
            except duckdb.Error as error:
                raise BrokenSegment(f"cannot read {file}: {error}") from error
            found.append(_segment(folder, file.relative_to(folder), first, last))
            above = last
    return found


def without(folder: Path, old: Segment, what: Mapping[str, object]) -> Segment | None:
    """The segment with every entry that `what` says blanked, in a new file; None if there is none. The
    parameters are those of `wipe` in sql/segments.sql. Raises BrokenSegment.

    The catch: it computes and writes for a second or more; call it in a thread.
    """
    import duckdb

    file = folder / old.path
    named = _NAME.fullmatch(file.name)
    if named is None:
        raise BrokenSegment(f"{file} is no name of a segment")
    path = Path(old.path).with_name(f"{named[1]}-{named[2]}.{int(named[3] or 1) + 1}.parquet")
    part = folder / f"{path}.part"
    try:
        with connect(threads=1) as db:
            if not mentions(db, file, what):
                return None
            verify(folder, old)
            db.execute(_SQL["wipe"], {"old": [str(file)], "new": str(part), **what}).fetchall()
            check(db, part, old.first_seq, old.last_seq)
    except duckdb.Error as error:
        raise BrokenSegment(f"cannot write {part} from {file}: {error}") from error
    sync(part)
    part.rename(folder / path)
    sync((folder / path).parent)
    return _segment(folder, path, old.first_seq, old.last_seq)


def mentions(db: duckdb.DuckDBPyConnection, file: Path, what: Mapping[str, object]) -> bool:
    """Whether a segment has an entry that `what` says."""
    return db.execute(_SQL["mentions"], {"files": [str(file)], **what}).fetchall()[0][0] > 0


def strays(folder: Path, listed: Container[str], upto: int) -> list[Path]:
    """Files of segments up to a seq that the manifest does not name, and what was never finished. Only
    for whoever holds the manifest's lock: nobody else is writing one."""
    found = [*folder.glob("unsealed-*.part"), *folder.glob("*/*.parquet.part")]
    for file in folder.glob("*/*.parquet"):
        named = _NAME.fullmatch(file.name)
        if named and int(named[2]) <= upto and file.relative_to(folder).as_posix() not in listed:
            found.append(file)
    return found


def check(db: duckdb.DuckDBPyConnection, file: Path, first_seq: int, last_seq: int) -> None:
    """Raises BrokenSegment unless the file holds every seq of the range exactly once."""
    found = db.execute(_SQL["check"], {"files": [str(file)]}).fetchall()[0]
    rows = last_seq - first_seq + 1
    if found != (rows, first_seq, last_seq, rows):
        raise BrokenSegment(
            f"{file} holds {found[0]} rows from {found[1]} to {found[2]}, not {rows} to {last_seq}"
        )


def verify(folder: Path, segment: Segment) -> None:
    """Raises BrokenSegment unless the file is there, byte for byte as it was sealed."""
    file = folder / segment.path
    if not file.is_file():
        raise BrokenSegment(f"{file} is missing")
    if file.stat().st_size != segment.bytes or digest(file) != segment.sha256:
        raise BrokenSegment(
            f"{file} is not the file that was sealed: its sha-256 differs from the manifest's"
        )


def connect(
    *, threads: int, memory: str | None = None, scratch: Path | None = None
) -> duckdb.DuckDBPyConnection:
    """A DuckDB of its own, in memory; what does not fit goes below `scratch`."""
    import duckdb

    config: dict[str, Any] = {"threads": threads}
    if memory is not None:
        config["memory_limit"] = memory
    if scratch is not None:
        config["temp_directory"] = str(scratch)
    db = duckdb.connect(":memory:", config=config)
    db.execute(_SQL["utc"])
    return db


def open_events(db: duckdb.DuckDBPyConnection, files: Sequence[Path]) -> None:
    """Make these segments readable as `event`."""
    if files:
        db.read_parquet([str(file) for file in files]).create_view("event")
    else:
        db.execute(_SQL["empty"])


def digest(file: Path) -> str:
    """sha-256 of the file, in hex."""
    total = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(_HASH_CHUNK):
            total.update(chunk)
    return total.hexdigest()


def sync(path: Path) -> None:
    """Have a file's bytes, or a folder's names, on disk when this returns."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _line(seq: int, received_us: int, e: Entry) -> _Line:
    detail = None if e.detail is None else msgspec.json.encode(e.detail).decode()
    return _Line(
        seq,
        received_us,
        e.kind,
        e.source,
        e.source_seq,
        None if e.kind is Kind.FORGOTTEN else e.did,
        e.rev,
        e.collection,
        e.rkey,
        e.action,
        e.cid,
        e.block,
        e.verdict,
        e.reason,
        detail,
    )


def total(segments: Iterable[Segment]) -> tuple[int, int]:
    """Rows and bytes of these segments together."""
    rows = size = 0
    for segment in segments:
        rows += segment.rows
        size += segment.bytes
    return rows, size
