"""Projections from records alone: `rebuild` proves that they are what the records say, or mends them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from indexer import decide
from indexer.apply import write
from indexer.decide import Change
from indexer.prepare import Candidate
from indexer.profiles import refresh_profiles
from lexicons.catalog import Catalog
from lexicons.records import parse_record
from storage import rebuild, records, repos, tracks
from storage.postgres import Connection
from storage.rebuild import Difference
from storage.records import LiveRecord
from storage.repos import Repo

CHUNK = 2000


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """`records` were read; `differences` is empty if every projection was right."""

    records: int
    differences: list[Difference]


async def rebuild_projections(
    conn: Connection, catalog: Catalog, *, mend: bool = True, progress: Callable[[int], None] = lambda _: None
) -> Rebuilt:
    """Compute all projections and counters again and say what differed; with `mend`, put it right.

    One transaction: whoever reads meanwhile sees the old tables, whoever indexes waits.
    """
    count = 0
    async with conn.transaction(force_rollback=not mend):
        await rebuild.begin(conn)
        chunk: list[LiveRecord] = []
        async for record in records.live(conn, catalog.collections.own):
            chunk.append(record)
            if len(chunk) == CHUNK:
                await _project(conn, chunk, catalog)
                count += len(chunk)
                progress(count)
                chunk.clear()
        await _project(conn, chunk, catalog)
        count += len(chunk)
        progress(count)
        await refresh_profiles(conn, await repos.all_ids(conn), catalog)
        found = await rebuild.differences(conn)
        if mend and found:
            await rebuild.replace(conn)
    return Rebuilt(count, found)


async def refresh_cards(conn: Connection, repo_id: int, catalog: Catalog) -> None:
    """Render an account's track cards again: their audio may be on another PDS now."""
    collections = catalog.collections
    changed = [_change(r, catalog) for r in await records.live_of_repo(conn, repo_id, collections.track)]
    if changed:
        ids = await tracks.intern(conn, decide.mentioned(changed, collections))
        await tracks.put(conn, decide.effects(changed, ids, {}, collections).tracks)


async def _project(conn: Connection, chunk: Sequence[LiveRecord], catalog: Catalog) -> None:
    changed = [_change(record, catalog) for record in chunk]
    uris = decide.mentioned(changed, catalog.collections)
    ids = await tracks.intern(conn, uris) if uris else {}
    out = decide.effects(changed, ids, {}, catalog.collections)
    out.profiles, out.counts = set(), []  # both come once, at the end
    await write(conn, out, catalog)


def _change(record: LiveRecord, catalog: Catalog) -> Change:
    r = record
    parsed = parse_record(catalog, r.collection, r.rkey, r.block)
    repo = Repo(
        id=r.repo_id,
        did=r.did,
        handle=None,
        pds=r.pds,
        rev=None,
        data=None,
        gaps=[],
        active=True,
        status=None,
        account_source=None,
        account_seq=None,
        hidden=False,
    )
    candidate = Candidate(r.did, r.collection, r.rkey, r.rev, r.cid, r.block, parsed, None)
    return Change(repo, candidate, None)
