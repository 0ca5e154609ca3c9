"""One share of a replay, in a process of its own: newest versions in, rows of the shadows out.

What a row is, is said by the same pure functions as ever (`prepare.read`, `effects_of`,
`profiles.profile_row`); how it is written is not: everything is copied, nothing is looked up.
"""

from __future__ import annotations

import gc
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import orjson
import psycopg

from indexer.decide import Change
from indexer.effects import Effects, effects_of
from indexer.prepare import Candidate, read
from indexer.profiles import profile_row
from lexicons.catalog import Catalog
from lexicons.records import BskyProfile, InvalidRecord, List, Profile, Record, parse_record
from lexicons.syntax import AtUri, Cid, Did, Handle, Nsid, Rev, Rkey
from storage import fold, segment, shadow
from storage.fold import Looks, Part, RecordRow
from storage.intake import Repo
from storage.segment import BrokenSegment


@dataclass(frozen=True, slots=True)
class Task:
    """A share, and what its process needs to work it off."""

    dsn: str
    namespace: str
    part: Part


def project(task: Task) -> int:
    """Fill the shadows with one share; returns how many records that were. All of it or nothing.

    Raises BrokenSegment for a track URI that the archive never gave a number.
    """
    # Nothing here makes cycles, and looking for them among so many rows takes a tenth of the time.
    collecting = gc.isenabled()
    gc.disable()
    try:
        return _project(task)
    finally:
        if collecting:
            gc.enable()


def _project(task: Task) -> int:
    catalog = Catalog.load(task.namespace)
    count = 0
    with (
        segment.connect(threads=1) as db,
        psycopg.connect(task.dsn, application_name="plyr replay") as conn,
        conn.transaction(),
    ):
        shadow.stage(conn)
        ids = {AtUri(uri): id for uri, id in fold.names(db, task.part).items()}
        for rows in fold.records(db, task.part):
            _records(conn, rows, ids, catalog)
            count += len(rows)
        for accounts in fold.profiles(db, task.part):
            shadow.load_rows(conn, "profile", [_profile(looks, catalog) for looks in accounts])
        shadow.unstage(conn)
    return count


def _records(
    conn: psycopg.Connection, rows: Sequence[RecordRow], ids: Mapping[AtUri, int], catalog: Catalog
) -> None:
    changed = [_change(row, catalog) for row in rows]
    shadow.load_rows(
        conn,
        "record",
        [
            (
                r.repo_id,
                r.collection,
                r.rkey,
                r.rev,
                r.cid,
                r.block,
                r.verified,
                x.candidate.invalid,
                r.taken_down,
                r.unlisted,
            )
            for r, x in zip(rows, changed, strict=True)
        ],
    )
    present = [
        x
        for r, x in zip(rows, changed, strict=True)
        if x.candidate.record is not None and r.taken_down is None
    ]
    try:
        out = effects_of(present, ids, catalog.collections)
    except KeyError as error:
        raise BrokenSegment(f"the archive never gave {error.args[0]} a number") from error
    lists = [x.candidate for x in present if isinstance(x.candidate.record, List)]
    _load(conn, out, [ids.get(c.uri) for c in lists])


def _load(conn: psycopg.Connection, out: Effects, numbers: Sequence[int | None]) -> None:
    """`numbers`: those of the lists, as far as they are known."""
    shadow.load_rows(
        conn,
        "track",
        [
            (
                *(t.id, t.repo_id, t.rkey, t.cid, t.sort_at, t.indexed_at, t.title, t.card, t.search),
                *(t.rest, None if t.features is None else list(t.features), t.album, t.album_id, t.file_id),
                t.unlisted,
            )
            for t in out.tracks
        ],
    )
    shadow.load_rows(conn, "like", [(x.repo_id, x.track_id, x.rkey, x.sort_at) for x in out.likes])
    shadow.load_rows(
        conn,
        "comment",
        [(c.repo_id, c.rkey, c.track_id, c.timestamp_ms, c.sort_at, c.card) for c in out.comments],
    )
    shadow.load_rows(
        conn,
        "list",
        [
            (number, x.repo_id, x.rkey, x.list_type, x.name, x.album_id, x.items, x.sort_at, x.card)
            for number, x in zip(numbers, out.lists, strict=True)
        ],
    )
    shadow.load_rows(
        conn,
        "list_item",
        [(x.repo_id, x.rkey, n, track) for x in out.lists for n, track in x.track_ids.items()],
    )


def _change(r: RecordRow, catalog: Catalog) -> Change:
    cid = None if r.cid is None else Cid(r.cid)
    candidate = Candidate(
        Did(r.did), Nsid(r.collection), Rkey(r.rkey), Rev(r.rev), cid, r.block, verified=r.verified
    )
    repo = Repo(r.repo_id, Did(r.did), r.pds, hidden=False, withheld=_hashes(r.withheld))
    return Change(repo, read(candidate, catalog), None, None, r.unlisted is not None)


def _hashes(withheld: str | None) -> Collection[str]:
    return () if withheld is None else orjson.loads(withheld)


def _profile(looks: Looks, catalog: Catalog) -> tuple[object, ...]:
    own = _parsed(catalog, catalog.collections.profile, looks.own)
    bluesky = _parsed(catalog, catalog.collections.bsky_profile, looks.bluesky)
    handle = None if looks.handle is None else Handle(looks.handle)
    row = profile_row(
        looks.repo_id,
        Did(looks.did),
        handle,
        own if isinstance(own, Profile) else None,
        bluesky if isinstance(bluesky, BskyProfile) else None,
        _hashes(looks.withheld),
    )
    return (
        row.repo_id,
        looks.hidden,
        row.display_name,
        row.avatar,
        row.bio,
        row.created_at,
        row.card,
        row.search,
    )


def _parsed(catalog: Catalog, collection: Nsid, block: bytes | None) -> Record | None:
    if block is None:
        return None
    try:
        return parse_record(catalog, collection, Rkey("self"), block)
    except InvalidRecord:
        return None
