"""What happened, without one account: in the outbox, in the sealed files, in the dumps.

Contract: every entry keeps its seq, so that no reader finds a hole and a replay gives the tables that are
there without the account. An entry about it becomes one that says nothing. What others wrote stays theirs,
also where it names the account; so does the number of a track that they point at.

    outbox rows ─▶ the same rows, blanked
    segment     ─▶ a new file ─▶ manifest names it (commit) ─▶ the old file is removed

A crash anywhere is made good by doing it again.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from lexicons.syntax import Did
from storage import archive, forgotten, segment
from storage.outbox import Entry, Kind
from storage.postgres import Connection
from storage.queries import load
from storage.segment import BrokenSegment, Segment

_SQL, _ARCHIVE, _SEGMENTS = load("forgotten"), load("archive"), load("segments")
_PAGE = 64
EVERYTHING = 2**62  # above every seq

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Entry]).decode
_BLANK = Entry(Kind.ERASED, "")


def blanked(entry: Entry, did: Did, kept: frozenset[int]) -> Entry:
    """The entry, or one that says nothing if it is about this account. `kept` are the numbers of its tracks
    that stay. That it was forgotten may be told: who follows must know."""
    if entry.kind is Kind.FORGOTTEN:
        return entry
    detail = entry.detail or {}
    named = entry.kind is Kind.NAME and str(detail.get("uri", "")).startswith(f"at://{did}/")
    unread = entry.did is None and entry.block is not None and did.encode() in entry.block
    if entry.did == did or (named and detail.get("id") not in kept) or unread:
        return _BLANK
    return entry


async def wipe_outbox(conn: Connection, did: Did, upto: int) -> int:
    """Blank what the outbox says of an account up to a seq; how many rows were changed."""
    seq, changed = 0, 0
    while True:
        params = {"did": did, "seq": seq, "rows": _PAGE}
        rows = await (await conn.execute(_SQL["outbox_rows"], params)).fetchall()
        # Asked after the rows: a number that one of them gave is here if it stays.
        kept = frozenset(await forgotten.kept_names(conn, did))
        for last, first, _, events in rows:
            before: list[Entry] = _decode(events)
            after = [blanked(e, did, kept) if n <= upto else e for n, e in enumerate(before, first)]
            if after != before:
                changed += 1
                await conn.execute(_SQL["outbox_replace"], {"last_seq": last, "events": _encode(after)})
            seq = last
        if len(rows) < _PAGE:
            return changed


async def wipe_archive(conn: Connection, folder: Path, did: Did, upto: int) -> int:
    """Write every segment that mentions an account up to a seq anew without it; how many those were. Files
    that the manifest does not name and that mention it are removed. Raises BrokenSegment, OSError.

    A transaction for each: whoever seals waits for one file at most.
    """
    changed = 0
    for one in await archive.segments(conn):
        changed += await _wipe_segment(conn, folder, one.first_seq, did, upto)
    async with conn.transaction():
        await conn.execute(_ARCHIVE["lock"])
        listed = await archive.segments(conn)
        what = await _what(conn, did, upto)
        await asyncio.to_thread(_remove_strays, folder, listed, what)
    return changed


async def _wipe_segment(conn: Connection, folder: Path, first_seq: int, did: Did, upto: int) -> bool:
    async with conn.transaction():
        await conn.execute(_ARCHIVE["lock"])
        old = next(one for one in await archive.segments(conn) if one.first_seq == first_seq)
        what = await _what(conn, did, upto)
        new = await asyncio.to_thread(segment.without, folder, old, what)
        if new is None:
            return False
        params = {"first_seq": first_seq, "path": new.path, "bytes": new.bytes, "sha256": new.sha256}
        await conn.execute(_SQL["segment_replaced"], params)
    (folder / old.path).unlink(missing_ok=True)
    return True


async def _what(conn: Connection, did: Did, upto: int) -> Mapping[str, object]:
    return {"did": did, "kept": await forgotten.kept_names(conn, did), "upto": upto}


def _remove_strays(folder: Path, listed: list[Segment], what: Mapping[str, object]) -> None:
    """What a crash left behind: unfinished files whole, finished ones if they mention the account."""
    import duckdb  # here: with the first file, not with the process

    upto = listed[-1].last_seq if listed else 0
    with segment.connect(threads=1) as db:
        for file in segment.strays(folder, {one.path for one in listed}, upto):
            try:
                if file.suffix == ".part" or segment.mentions(db, file, what):
                    file.unlink(missing_ok=True)
            except duckdb.Error as error:
                raise BrokenSegment(f"cannot read {file}: {error}") from error


async def wipe_dumps(conn: Connection, folder: Path, did: Did) -> int:
    """Take an account out of the dumps in a folder; how many had it. A dump that is being written is waited
    for. Raises BrokenSegment, OSError."""
    async with conn.transaction():
        await conn.execute(_ARCHIVE["no_dumps"])
        return await asyncio.to_thread(_wipe_dumps, folder, did)


def _wipe_dumps(folder: Path, did: Did) -> int:
    import duckdb  # here: with the first file, not with the process

    changed = 0
    with segment.connect(threads=1) as db:
        for file in sorted(folder.glob("*.parquet")):
            part = file.with_name(file.name + ".part")
            try:
                found = db.execute(_SEGMENTS["dump_mentions"], {"files": [str(file)], "did": did})
                if not found.fetchall()[0][0]:
                    continue
                params = {"old": [str(file)], "new": str(part), "did": did}
                db.execute(_SEGMENTS["dump_without"], params).fetchall()
            except duckdb.Error as error:
                raise BrokenSegment(f"cannot take an account out of {file}: {error}") from error
            written = file.stat()
            os.utime(part, (written.st_atime, written.st_mtime))  # the next one is due when it was
            segment.sync(part)
            part.rename(file)
            changed += 1
    for left in (*folder.glob("dump-*.part"), *folder.glob("*.parquet.part")):
        left.unlink(missing_ok=True)
    return changed
